package dev.attune.suggestion;

import dev.attune.entity.Entity;
import dev.attune.entity.KnowledgeBase;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import dev.attune.searchlog.SearchLog;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.springframework.stereotype.Component;

/**
 * The words that a generated query may use: those of the context, of the entity and its relations, of documents that
 * match both, and words that many users' queries share. So a small model puts together what exists instead of inventing
 * names.
 */
@Component
class Lexicon {

  private static final Pattern WORD = Pattern.compile("[\\p{L}\\p{N}]+(?:['’-][\\p{L}\\p{N}]+)*");
  private static final int DOCUMENTS = 8;
  private static final int TEXT = 600;
  private static final int NEIGHBOURS = 12;
  private static final int POPULAR = 100;
  private static final long REFRESH = Duration.ofMinutes(10).toNanos();

  private final DocumentIndex index;
  private final KnowledgeBase knowledgeBase;
  private final SearchLog searchLog;
  private final SuggestionProperties properties;
  private volatile Shared shared = new Shared(Set.of(), System.nanoTime() - REFRESH);

  Lexicon(
      DocumentIndex index, KnowledgeBase knowledgeBase, SearchLog searchLog, SuggestionProperties properties) {
    this.index = index;
    this.knowledgeBase = knowledgeBase;
    this.searchLog = searchLog;
    this.properties = properties;
  }

  Set<String> words(SuggestionContext context, Focus focus) {
    Set<String> words = new HashSet<>(shared());
    words.addAll(words(context.query()));
    words.addAll(words(focus.label()));
    if (context.page() != null) {
      words.addAll(words(context.page().title()));
    }
    context.session().forEach(text -> words.addAll(words(text)));
    context.recent().stream().filter(text -> QueryText.mentions(text, focus.label()))
        .forEach(text -> words.addAll(words(text)));
    List<String> near =
        knowledgeBase.neighbours(focus.entityId()).stream().limit(NEIGHBOURS).map(Entity.Neighbour::id).toList();
    knowledgeBase.findAll(near).values().forEach(entity -> words.addAll(words(entity.label())));
    words.addAll(found(context, focus));
    return words;
  }

  /** Words of documents about the entity in this context: all of their titles, what they share of their texts. */
  private Set<String> found(SuggestionContext context, Focus focus) {
    String query = (context.query() + " " + focus.label()).strip();
    List<Document> documents =
        index.search(new RetrievalRequest(query, Mode.LEXICAL, DOCUMENTS, Map.of(), List.of())).candidates().stream()
            .map(DocumentIndex.Candidate::document)
            .toList();
    Set<String> words = new HashSet<>();
    Map<String, Integer> frequency = new HashMap<>();
    for (Document document : documents) {
      words.addAll(words(document.title()));
      Stream.concat(
              Stream.of(document.text().substring(0, Math.min(TEXT, document.text().length()))),
              document.fields().values().stream().flatMap(Lexicon::texts))
          .flatMap(text -> words(text).stream())
          .filter(word -> word.length() > 3)
          .distinct()
          .forEach(word -> frequency.merge(word, 1, Integer::sum));
    }
    frequency.forEach((word, count) -> {
      if (count > 1) {
        words.add(word);
      }
    });
    return words;
  }

  private static Stream<String> texts(Object value) {
    return switch (value) {
      case String text -> Stream.of(text);
      case Collection<?> list -> list.stream().map(String::valueOf);
      default -> Stream.empty();
    };
  }

  /** Words of queries that at least {@code min-users} users asked. */
  private Set<String> shared() {
    Shared current = shared;
    if (System.nanoTime() - current.read() >= REFRESH) {
      Set<String> words =
          searchLog.popular("", properties.minUsers(), POPULAR).stream()
              .flatMap(query -> words(query.text()).stream())
              .collect(Collectors.toUnmodifiableSet());
      current = new Shared(words, System.nanoTime());
      shared = current;
    }
    return current.words();
  }

  static Set<String> words(String text) {
    return WORD.matcher(text.toLowerCase(Locale.ROOT)).results().map(result -> result.group()).collect(
        Collectors.toSet());
  }

  /** Words and when they were read. */
  private record Shared(Set<String> words, long read) {}
}
