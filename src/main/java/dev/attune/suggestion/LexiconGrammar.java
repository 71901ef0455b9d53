package dev.attune.suggestion;

import dev.attune.llm.TextGenerator;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.NavigableSet;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * One plain line made of known words: small models invent names otherwise. A continuation of {@code start} is allowed
 * while every finished word is in the lexicon and was not used before, and the last one can still become such a word.
 * Letters, digits, hyphens and apostrophes only: no markup, quotes, control characters or line breaks.
 */
final class LexiconGrammar implements TextGenerator.LineGrammar {

  private static final int MAX_WORDS = 8;
  private static final int MAX_LENGTH = 70;

  /** Words that join others, in any subject. */
  static final Set<String> JOINING = Set.of("like", "with", "about", "and", "by", "in", "of", "from", "the");

  /** Words that no query ends with; besides the joining ones such as titles bring along. */
  private static final Set<String> NEVER_LAST =
      Set.of("like", "with", "about", "and", "by", "in", "of", "from", "the", "a", "an", "to", "for", "on", "at", "or",
          "is", "his", "her", "their", "its");

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
    // Asked for thousands of tokens a step: what most of them fail at comes first.
    if (start.length() + text.length() > MAX_LENGTH || !plain(text)) {
      return false;
    }
    if (!start.isEmpty() && !text.isEmpty() && text.charAt(0) != ' ') {
      return false;
    }
    String rest = start.isEmpty() || text.isEmpty() ? text : text.substring(1);
    int lastSpace = rest.lastIndexOf(' ');
    String last = rest.substring(lastSpace + 1);
    String match = lexicon.ceiling(last);
    if (match == null || !match.startsWith(last)) {
      return false;
    }
    List<String> words = lastSpace < 0 ? List.of() : List.of(rest.substring(0, lastSpace).split(" ", -1));
    if (words.size() + startWords.size() >= MAX_WORDS) {
      return false;
    }
    for (int i = 0; i < words.size(); i++) {
      if (!lexicon.contains(words.get(i)) || words.indexOf(words.get(i)) < i) {
        return false;
      }
    }
    return words.isEmpty() || lexicon.tailSet(last, true).stream()
        .takeWhile(word -> word.startsWith(last))
        .anyMatch(word -> !words.contains(word));
  }

  private static boolean plain(String text) {
    for (int i = text.length() - 1; i >= 0; i--) {
      char c = text.charAt(i);
      boolean simple = c >= 'a' && c <= 'z' || c == ' ' || c >= '0' && c <= '9' || c == '-' || c == '\'' || c == '’';
      if (!simple && (c < 0x80 || Character.isUpperCase(c) || !Character.isLetterOrDigit(c))) {
        return false;
      }
    }
    return true;
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
  @Nullable String query(String text) {
    List<String> words =
        Arrays.stream(text.strip().toLowerCase(Locale.ROOT).split(" ")).filter(w -> !w.isEmpty()).toList();
    int end = 0;
    // Up to the first word that is unfinished or said before; then back to one that can stand at the end.
    while (end < words.size() && lexicon.contains(words.get(end)) && words.indexOf(words.get(end)) == end) {
      end++;
    }
    while (end > 0 && NEVER_LAST.contains(words.get(end - 1))) {
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
