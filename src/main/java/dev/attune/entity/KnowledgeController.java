package dev.attune.entity;

import dev.attune.web.Problems;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.media.Content;
import io.swagger.v3.oas.annotations.media.Schema;
import io.swagger.v3.oas.annotations.tags.Tag;
import java.io.InputStream;
import java.util.regex.Pattern;
import org.springframework.http.MediaType;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
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
    if (!SOURCE.matcher(source).matches() || source.equals(KnowledgeRow.DOCUMENTS)) {
      throw Problems.badField(
          "source", "must be up to 60 of a-z, 0-9, '.', '_' and '-', and not " + KnowledgeRow.DOCUMENTS);
    }
    return imports.importNdjson(source, body);
  }
}
