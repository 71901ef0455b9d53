package dev.attune.search;

import dev.attune.suggestion.QueryCompletion;
import dev.attune.web.Problems;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.tags.Tag;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** Completes what is being typed; asked at every key. */
@RestController
@Tag(name = "Search")
class CompletionController {

  private static final int MAX_PREFIX = 200;
  private static final int MAX_SIZE = 50;

  private final QueryCompletion completion;
  private final Timer timer;

  CompletionController(QueryCompletion completion, MeterRegistry registry) {
    this.completion = completion;
    this.timer = registry.timer("attune.search.complete");
  }

  @GetMapping("/api/v1/complete")
  @Operation(summary = "Complete a prefix: own queries, popular ones (k-anonymous), names")
  Answer complete(
      @RequestParam @Nullable String q,
      @RequestParam @Nullable String userId,
      @RequestParam(defaultValue = "10") int size) {
    if (q == null) {
      throw Problems.badField("q", "is missing");
    }
    if (size < 1 || size > MAX_SIZE) {
      throw Problems.badField("size", "is " + size + "; it must be between 1 and " + MAX_SIZE);
    }
    String user = SearchBody.id("userId", userId);
    if (q.length() > MAX_PREFIX) {
      // Nothing that long can be completed, and it is not worth an error while somebody types or pastes.
      return new Answer(List.of());
    }
    List<QueryCompletion.Completion> completions =
        timer.record(() -> completion.complete(q.replace('\0', ' '), user, size));
    return new Answer(completions == null ? List.of() : completions);
  }

  /** Best first. */
  record Answer(List<QueryCompletion.Completion> completions) {}
}
