package dev.attune.suggestion;

import dev.attune.llm.TextGenerator;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.NavigableSet;
import java.util.Set;
import java.util.TreeSet;

/**
 * One plain line made of known words: small models invent names otherwise. A continuation of {@code start} is allowed
 * while every finished word is in the lexicon and was not used before, and the last one can still become such a word.
 * Letters, digits, hyphens and apostrophes only: no markup, quotes, control characters or line breaks.
 */
final class LexiconGrammar implements TextGenerator.LineGrammar {

  private static final int MAX_WORDS = 8;
  private static final int MAX_LENGTH = 70;

  /** Words that join others, in any subject; none of them can end a query. */
  static final Set<String> JOINING =
      Set.of("like", "with", "about", "and", "by", "in", "of", "for", "from", "on", "the", "a", "to", "similar");

  private final String start;
  private final String name;
  private final Set<String> startWords;
  private final NavigableSet<String> lexicon;

  /**
   * A grammar for what follows a text.
   *
   * @param start beginning of the query, in lower case, may be empty; the continuation follows after a space
   * @param words that may be used; joining words are added
   * @param name that the query has to mention before it may end
   */
  LexiconGrammar(String start, Set<String> words, String name) {
    this.name = name;
    this.start = start;
    this.startWords = start.isEmpty() ? Set.of() : Set.of(distinct(start));
    this.lexicon = new TreeSet<>(JOINING);
    words.stream().map(word -> word.toLowerCase(Locale.ROOT)).forEach(lexicon::add);
    lexicon.removeAll(startWords);
  }

  @Override
  public boolean allows(String text) {
    if (start.length() + text.length() > MAX_LENGTH) {
      return false;
    }
    String rest = text;
    if (!start.isEmpty()) {
      if (rest.isEmpty()) {
        return true;
      }
      if (rest.charAt(0) != ' ') {
        return false;
      }
      rest = rest.substring(1);
    }
    String[] words = rest.toLowerCase(Locale.ROOT).split(" ", -1);
    if (words.length + startWords.size() > MAX_WORDS) {
      return false;
    }
    for (int i = 0; i < words.length - 1; i++) {
      if (!lexicon.contains(words[i]) || Arrays.asList(words).subList(0, i).contains(words[i])) {
        return false;
      }
    }
    String last = words[words.length - 1];
    String match = lexicon.ceiling(last);
    return match != null && match.startsWith(last);
  }

  @Override
  public boolean mayEndAfter(String text) {
    String query = query(text);
    // Nothing may be cut: the model is to go on until the query is whole.
    return query != null && query.equals((start + text).strip()) && QueryText.mentions(query, name);
  }

  /**
   * The query that a continuation makes: an unfinished last word and joining words at the end are cut.
   *
   * @return null when nothing was added to the start
   */
  @org.jspecify.annotations.Nullable String query(String text) {
    List<String> words =
        Arrays.stream(text.strip().toLowerCase(Locale.ROOT).split(" ")).filter(w -> !w.isEmpty()).toList();
    int end = words.size();
    while (end > 0 && (!lexicon.contains(words.get(end - 1)) || JOINING.contains(words.get(end - 1)))) {
      end--;
    }
    if (end == 0) {
      return null;
    }
    String added = String.join(" ", words.subList(0, end));
    return start.isEmpty() ? added : start + " " + added;
  }

  private static String[] distinct(String text) {
    return Arrays.stream(text.split(" ")).distinct().toArray(String[]::new);
  }
}
