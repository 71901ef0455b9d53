package dev.attune.suggestion;

import dev.attune.knowledge.Mode;
import dev.attune.searchlog.SearchLog;
import dev.attune.suggestion.Suggester.Page;
import dev.attune.suggestion.Suggester.SuggestionRequest;
import dev.attune.web.Problems;
import java.time.Duration;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The JSON body of a request for suggestions; every field may be left out. */
record SuggestionBody(
    @Nullable String userId,
    @Nullable String sessionId,
    @Nullable String query,
    @Nullable String documentId,
    @Nullable PageBody page,
    @Nullable Integer size,
    @Nullable List<String> modes,
    @Nullable Integer budgetMs) {

  private static final int MAX_DOCUMENT_ID = 512;
  private static final int MAX_QUERY = 10_000;
  private static final int MAX_SIZE = 20;
  private static final int MAX_BUDGET = 60_000;

  /** A page that is not in the index; long texts are read as far as they fit. */
  record PageBody(@Nullable String title, @Nullable String text) {}

  /**
   * Checks the fields and fills in the defaults.
   *
   * @throws org.springframework.web.ErrorResponseException naming the first field at fault
   */
  SuggestionRequest toRequest() {
    if (query != null && query.length() > MAX_QUERY) {
      throw Problems.badField("query", "is longer than " + MAX_QUERY + " characters; shorten it");
    }
    if (documentId != null && page != null) {
      throw Problems.badField("page", "cannot be given together with documentId; leave one out");
    }
    if (size != null && (size < 1 || size > MAX_SIZE)) {
      throw Problems.badField("size", "is " + size + "; it must be between 1 and " + MAX_SIZE);
    }
    if (budgetMs != null && (budgetMs < 1 || budgetMs > MAX_BUDGET)) {
      throw Problems.badField("budgetMs", "is " + budgetMs + "; it must be between 1 and " + MAX_BUDGET);
    }
    return new SuggestionRequest(
        id("userId", userId, SearchLog.MAX_ID),
        id("sessionId", sessionId, SearchLog.MAX_ID),
        query,
        id("documentId", documentId, MAX_DOCUMENT_ID),
        page == null ? null : new Page(orEmpty(page.title()), orEmpty(page.text())),
        size == null ? 5 : size,
        wantedModes(),
        budgetMs == null ? null : Duration.ofMillis(budgetMs));
  }

  private Set<Mode> wantedModes() {
    if (modes == null) {
      return EnumSet.allOf(Mode.class);
    }
    Set<Mode> wanted = EnumSet.noneOf(Mode.class);
    for (String name : modes) {
      wanted.add(
          Arrays.stream(Mode.values())
              .filter(mode -> name != null && mode.name().equals(name.toUpperCase(Locale.ROOT)))
              .findFirst()
              .orElseThrow(() -> Problems.badField("modes", "must be of familiar, unfamiliar and lapsed")));
    }
    return wanted;
  }

  private static @Nullable String id(String field, @Nullable String value, int longest) {
    if (value == null || value.isBlank()) {
      return null;
    }
    return Problems.checkText(field, value, longest);
  }

  private static String orEmpty(@Nullable String text) {
    return text == null ? "" : text;
  }
}
