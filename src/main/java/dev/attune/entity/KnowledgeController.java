package dev.attune.entity;

import dev.attune.web.Problems;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.media.Content;
import io.swagger.v3.oas.annotations.media.Schema;
import io.swagger.v3.oas.annotations.tags.Tag;
import java.io.InputStream;
import java.util.regex.Pattern;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.web.bind.annotation.DeleteMapping;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;

/** The knowledge base: how large it is, and a team's own entities. */
@RestController
@RequestMapping("/api/v1/admin/kb")
@Tag(name = "Administration")
class KnowledgeController {

  private static final Pattern SOURCE = Pattern.compile("[a-z0-9][a-z0-9._-]{0,59}");

  private final KnowledgeBase knowledge;
  private final KnowledgeImport imports;

  KnowledgeController(KnowledgeBase knowledge, KnowledgeImport imports) {
    this.knowledge = knowledge;
    this.imports = imports;
  }

  @GetMapping
  @Operation(summary = "Size of the knowledge base, by type and by source")
  KnowledgeBaseStats stats() {
    return knowledge.stats();
  }

  @PostMapping(consumes = {"application/x-ndjson", "application/ndjson", MediaType.APPLICATION_JSON_VALUE})
  @Operation(
      summary = "Add or replace entities of the knowledge base",
      description =
          "NDJSON or a JSON array of any size; id and label are needed. An entity replaces the one with its id as a "
              + "whole, be it bundled or your own; all others stay. Lines that cannot be taken are rejected one by "
              + "one, and the first 1,000 of them are listed. What is written is durable and known to the linker when "
              + "the answer is sent. source names where the entities come from, for GET.",
      requestBody =
          @io.swagger.v3.oas.annotations.parameters.RequestBody(
              required = true,
              content = {
                @Content(mediaType = "application/x-ndjson", schema = @Schema(implementation = Entity.class)),
                @Content(mediaType = MediaType.APPLICATION_JSON_VALUE,
                    schema = @Schema(implementation = Entity[].class))
              }))
  KnowledgeImport.Report load(InputStream body, @RequestParam(defaultValue = "own") String source) {
    return imports.importNdjson(checkSource(source), body);
  }

  @DeleteMapping("/entities/{entityId}")
  @ResponseStatus(HttpStatus.NO_CONTENT)
  @Operation(
      summary = "Remove an entity that was loaded",
      description =
          "Holds at once for what is linked from now on; what it replaced does not come back. An entity that only "
              + "documents name goes with them: 409. User stores keep what was linked before until POST "
              + "/api/v1/admin/jobs/rebuild computes them again.")
  void remove(@PathVariable String entityId) {
    if (knowledge.removeImported(Problems.checkText("entityId", entityId, KnowledgeImport.MAX_ID))) {
      return;
    }
    if (knowledge.find(entityId).isPresent()) {
      throw Problems.of(HttpStatus.CONFLICT, "This entity follows from documents and goes with them.");
    }
    throw Problems.notFound("entity", entityId);
  }

  /** @param removed entities that were there */
  record Removed(int removed) {}

  @DeleteMapping("/sources/{source}")
  @Operation(
      summary = "Remove all entities of a source",
      description = "As with a single entity. 404 if there is none; documents is no source that can be removed.")
  Removed removeSource(@PathVariable String source) {
    int removed = knowledge.removeSource(checkSource(source));
    if (removed == 0) {
      throw Problems.of(HttpStatus.NOT_FOUND, "There is no entity of the source " + source + ".");
    }
    return new Removed(removed);
  }

  private static String checkSource(String source) {
    if (!SOURCE.matcher(source).matches() || source.equals(KnowledgeRow.DOCUMENTS)) {
      throw Problems.badField(
          "source", "must be up to 60 of a-z, 0-9, '.', '_' and '-', and not " + KnowledgeRow.DOCUMENTS);
    }
    return source;
  }
}
