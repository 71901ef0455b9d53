package dev.attune.searchlog;

import dev.attune.web.JsonItemReader;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.tags.Tag;
import java.io.InputStream;
import org.springframework.http.MediaType;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RestController;

@RestController
@RequestMapping("/api/v1/events")
@Tag(name = "Search logs")
class EventsController {

  private final PostgresSearchLog log;
  private final JsonItemReader reader;

  EventsController(PostgresSearchLog log, JsonItemReader reader) {
    this.log = log;
    this.reader = reader;
  }

  @Operation(
      summary = "Store search log items",
      description =
          "NDJSON or a JSON array of User Behavior Insights 1.3 queries and events, of any size. Items that cannot be"
              + " taken are rejected one by one; what is accepted is durable when the answer is sent.")
  @PostMapping(consumes = {"application/x-ndjson", "application/ndjson", MediaType.APPLICATION_JSON_VALUE})
  SearchLog.IngestReport post(InputStream body) {
    return log.ingestItems(reader.read(body));
  }
}
