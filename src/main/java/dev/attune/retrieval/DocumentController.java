package dev.attune.retrieval;

import dev.attune.web.JsonItem;
import dev.attune.web.JsonItemReader;
import dev.attune.web.Problems;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.media.Content;
import io.swagger.v3.oas.annotations.media.Schema;
import io.swagger.v3.oas.annotations.tags.Tag;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
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

@RestController
@RequestMapping("/api/v1/documents")
@Tag(name = "Documents")
class DocumentController {

  /** A request of millions of bad lines must not be held in memory: beyond this, errors are only counted. */
  static final int MAX_ERRORS = 1_000;

  private final LuceneDocumentIndex index;
  private final JsonItemReader reader;
  private final int batchSize;

  DocumentController(LuceneDocumentIndex index, JsonItemReader reader, RetrievalProperties properties) {
    this.index = index;
    this.reader = reader;
    this.batchSize = properties.batchSize();
  }

  @PostMapping(consumes = {MediaType.APPLICATION_NDJSON_VALUE, MediaType.APPLICATION_JSON_VALUE})
  @Operation(
      summary = "Add or replace documents",
      description =
          "NDJSON or a JSON array of any size. Invalid documents are rejected one by one; of several with the same id "
              + "the last counts. Everything counted as indexed is on disk when the answer is sent, and found by "
              + "searches unless refresh is false. The first 1,000 errors are listed.",
      requestBody =
          @io.swagger.v3.oas.annotations.parameters.RequestBody(
              required = true,
              content = {
                @Content(mediaType = MediaType.APPLICATION_NDJSON_VALUE,
                    schema = @Schema(implementation = Document.class)),
                @Content(mediaType = MediaType.APPLICATION_JSON_VALUE,
                    schema = @Schema(implementation = Document[].class))
              }))
  Report put(InputStream body, @RequestParam(defaultValue = "true") boolean refresh) {
    Batches batches = new Batches(refresh);
    try (Stream<JsonItem> items = reader.read(body)) {
      items.forEach(batches::accept);
    }
    batches.flush();
    return batches.report();
  }

  @GetMapping("/{*id}")
  @Operation(summary = "Get a document")
  Document get(@PathVariable String id) {
    String documentId = id.substring(1);
    return index.find(documentId).orElseThrow(() -> Problems.notFound("document", documentId));
  }

  @DeleteMapping("/{*id}")
  @ResponseStatus(HttpStatus.NO_CONTENT)
  @Operation(summary = "Delete a document")
  void delete(@PathVariable String id) {
    String documentId = id.substring(1);
    if (!index.delete(documentId)) {
      throw Problems.notFound("document", documentId);
    }
  }

  /**
   * What became of a bulk request.
   *
   * @param errors the first 1,000; {@code rejected} counts all
   */
  record Report(long received, long indexed, long rejected, List<Rejection> errors) {}

  /**
   * One rejected document.
   *
   * @param index zero-based position in the request
   * @param id the document's id if it could be read
   */
  record Rejection(long index, @Nullable String id, String reason) {}

  /** Writes documents in groups, so that memory is bounded whatever the size of the request. */
  private final class Batches {
    private final boolean refresh;
    private final List<Document> pending = new ArrayList<>();
    private final List<Rejection> errors = new ArrayList<>();
    private long received;
    private long indexed;
    private long pendingChars;

    Batches(boolean refresh) {
      this.refresh = refresh;
    }

    void accept(JsonItem item) {
      received++;
      switch (item) {
        case JsonItem.Malformed(long position, String reason) -> reject(new Rejection(position, null, reason));
        case JsonItem.Value value -> {
          try {
            Document document = DocumentJson.parse(value.node());
            pending.add(document);
            pendingChars += document.text().length();
          } catch (InvalidDocumentException e) {
            reject(new Rejection(value.index(), e.id(), String.valueOf(e.getMessage())));
          }
        }
      }
      if (pending.size() >= batchSize || pendingChars > 16_000_000) {
        flush();
      }
    }

    void flush() {
      index.put(List.copyOf(pending), refresh);
      indexed += pending.size();
      pending.clear();
      pendingChars = 0;
    }

    Report report() {
      return new Report(received, indexed, received - indexed, errors);
    }

    private void reject(Rejection rejection) {
      if (errors.size() < MAX_ERRORS) {
        errors.add(rejection);
      }
    }
  }
}
