package dev.attune.knowledge;

import dev.attune.retrieval.Document;
import dev.attune.searchlog.LoggedEvent;
import dev.attune.searchlog.LoggedQuery;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.bind.Binder;
import org.springframework.boot.context.properties.source.MapConfigurationPropertySource;

/** A small film world whose names no other test uses, and log items about it. */
final class KnowledgeFixture {

  static final Instant START = Instant.parse("2026-06-01T10:00:00Z");

  private KnowledgeFixture() {}

  /** Films {@code kf0..kf9}: two per director Kfdirector A to E, actors shared by neighbours, two genres. */
  static List<Document> films() {
    List<Document> films = new ArrayList<>();
    for (int i = 0; i < 10; i++) {
      films.add(new Document("kf" + i, "Kffilm" + (char) ('a' + i), "A text.", null, null, Map.of(
          "director", "Kfdirector " + (char) ('A' + i / 2),
          "actors", List.of("Kfactor " + (char) ('A' + i), "Kfactor " + (char) ('A' + (i + 1) % 10)),
          "genres", List.of(i % 2 == 0 ? "Kfgenreone" : "Kfgenretwo"))));
    }
    return films;
  }

  static Instant at(int hours) {
    return START.plus(Duration.ofHours(hours));
  }

  static LoggedQuery query(String id, @Nullable String user, String text, int hours) {
    return new LoggedQuery(id, user, null, text, at(hours), List.of(), false);
  }

  static LoggedEvent click(String id, @Nullable String user, String documentId, @Nullable String queryId, int hours) {
    return event(id, user, "click", documentId, queryId, hours);
  }

  static LoggedEvent event(String id, @Nullable String user, String action, String documentId,
      @Nullable String queryId, int hours) {
    return new LoggedEvent(id, action, !action.equals("impression"), user, null, queryId, at(hours),
        new LoggedEvent.PageObject(documentId, null, null, null), null, false);
  }

  static KnowledgeProperties properties(String... pairs) {
    Map<String, String> values = new LinkedHashMap<>();
    for (int i = 0; i < pairs.length; i += 2) {
      values.put("attune.knowledge." + pairs[i], pairs[i + 1]);
    }
    return new Binder(new MapConfigurationPropertySource(values))
        .bindOrCreate("attune.knowledge", KnowledgeProperties.class);
  }
}
