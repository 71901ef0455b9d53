package dev.attune.suggestion;

import dev.attune.llm.Admission;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.suggestion.Suggester.SuggestionRequest;
import dev.attune.web.EventStream;
import dev.attune.web.Problems;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.tags.Tag;
import java.util.function.Consumer;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.servlet.mvc.method.annotation.SseEmitter;

/** The suggestion resource. */
@RestController
@RequestMapping("/api/v1/suggestions")
@Tag(name = "Suggestions")
class SuggestionController {

  private final Suggester suggester;
  private final DocumentIndex index;
  private final SuggestionMetrics metrics;
  private final SuggestionProperties properties;

  SuggestionController(
      Suggester suggester, DocumentIndex index, SuggestionMetrics metrics, SuggestionProperties properties) {
    this.suggester = suggester;
    this.index = index;
    this.metrics = metrics;
    this.properties = properties;
  }

  @PostMapping
  @Operation(
      summary = "Suggest next queries in the context of a user",
      description =
          """
          degraded says what the answer had to do without. Where the model gave too few suggestions, others stand in, \
          with "source": "backoff": completions, and searches of several people. context: no known entity fits user, \
          query and page, so the model was not asked; nothing failed. generation: the model failed, or wrote nothing \
          good enough. model: none is loaded. budget: it had too little time. personalization: the user's store was \
          not read. backoff: the others could not be read.""")
  SuggestionAnswer suggest(@RequestBody SuggestionBody body) {
    return SuggestionAnswer.of(suggest(checked(body), each -> {}));
  }

  @PostMapping("/stream")
  @Operation(summary = "The same as server-sent events: suggestion, as soon as one is final, and done")
  SseEmitter stream(@RequestBody SuggestionBody body) {
    SuggestionRequest request = checked(body);
    return EventStream.open(
        properties.streamTimeout(),
        properties.heartbeat(),
        sender -> {
          Suggester.Suggestions all = suggest(request, each -> sender.send("suggestion", each));
          sender.send("done", SuggestionAnswer.of(all));
        },
        metrics::cancelled);
  }

  private Suggester.Suggestions suggest(SuggestionRequest request, Consumer<Suggester.Suggestion> each) {
    try {
      return suggester.suggest(request, each);
    } catch (Admission.BusyException e) {
      throw Problems.tooManyRequests(String.valueOf(e.getMessage()) + '.', e.retryAfter());
    }
  }

  private SuggestionRequest checked(SuggestionBody body) {
    SuggestionRequest request = body.toRequest();
    if (request.documentId() != null && index.find(request.documentId()).isEmpty()) {
      throw Problems.notFound("document", request.documentId());
    }
    return request;
  }
}
