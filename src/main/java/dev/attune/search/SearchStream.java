package dev.attune.search;

import dev.attune.llm.Admission;
import dev.attune.suggestion.Suggester;
import dev.attune.suggestion.SuggestionAnswer;
import dev.attune.web.EventStream;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.stereotype.Component;
import org.springframework.web.servlet.mvc.method.annotation.SseEmitter;

/**
 * A search as server-sent events: {@code retrieved} (the answer in retrieval order), {@code ranked} (the final
 * answer), {@code suggestions} (as of the suggestion resource), {@code done}; {@code error} ends it early.
 */
@Component
class SearchStream {

  private static final Logger log = LoggerFactory.getLogger(SearchStream.class);
  static final int SUGGESTIONS = 5;

  private final Searcher searcher;
  private final Suggester suggester;
  private final SearchMetrics metrics;
  private final SearchProperties properties;

  SearchStream(Searcher searcher, Suggester suggester, SearchMetrics metrics, SearchProperties properties) {
    this.searcher = searcher;
    this.suggester = suggester;
    this.metrics = metrics;
    this.properties = properties;
  }

  SseEmitter open(SearchRequest request) {
    return EventStream.open(
        properties.streamTimeout(), properties.heartbeat(), sender -> run(request, sender), metrics::cancelled);
  }

  private void run(SearchRequest request, EventStream.Sender sender) {
    long start = System.nanoTime();
    SearchAnswer answer = searcher.search(request, retrieved -> sender.send("retrieved", retrieved));
    sender.send("ranked", answer);
    List<String> degraded = new ArrayList<>(answer.degraded());
    try {
      sender.send("suggestions", SuggestionAnswer.of(suggester.suggest(request.suggestions(SUGGESTIONS, null))));
    } catch (EventStream.ClientGoneException e) {
      throw e;
    } catch (Admission.BusyException e) {
      degraded.add("suggestions");
      sender.send("suggestions", SuggestionAnswer.NONE);
    } catch (RuntimeException e) {
      if (Thread.currentThread().isInterrupted()) {
        // The client is gone: nothing failed.
        throw e;
      }
      log.warn("Suggestions failed, the search goes on without them", e);
      degraded.add("suggestions");
      sender.send("suggestions", SuggestionAnswer.NONE);
    }
    sender.send("done", new Done(answer.queryId(), (System.nanoTime() - start) / 1_000_000, degraded));
  }

  /** The last event. */
  record Done(String queryId, long totalMs, List<String> degraded) {}
}
