package dev.attune.suggestion;

import java.text.Normalizer;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Pattern;

/** Queries compared as people mean them: case, accents, punctuation and the order of words do not count. */
final class QueryText {

  private static final Pattern MARKS = Pattern.compile("\\p{M}+");
  private static final Pattern APOSTROPHES = Pattern.compile("['’`]");
  private static final Pattern OTHER = Pattern.compile("[^\\p{L}\\p{N}]+");

  private QueryText() {}

  /** Lower-case words without accents and punctuation, one space between them. */
  static String normalize(String text) {
    String plain = MARKS.matcher(Normalizer.normalize(text, Normalizer.Form.NFKD)).replaceAll("");
    String words = OTHER.matcher(APOSTROPHES.matcher(plain.toLowerCase(Locale.ROOT)).replaceAll("")).replaceAll(" ");
    return words.strip();
  }

  /** The different words of a text, in order, simple plurals folded. */
  static Set<String> words(String text) {
    Set<String> words = new LinkedHashSet<>();
    Arrays.stream(normalize(text).split(" ")).filter(word -> !word.isEmpty()).map(QueryText::fold).forEach(words::add);
    return words;
  }

  /** Share of common words in all words, in [0,1]; 1 for the same set of words. */
  static double similarity(String a, String b) {
    Set<String> first = words(a);
    Set<String> second = words(b);
    if (first.isEmpty() && second.isEmpty()) {
      return 1;
    }
    long common = first.stream().filter(second::contains).count();
    return (double) common / (first.size() + second.size() - common);
  }

  /** Whether every word of a name is in a text. */
  static boolean mentions(String text, String name) {
    Set<String> words = words(name);
    return !words.isEmpty() && words(text).containsAll(words);
  }

  private static String fold(String word) {
    boolean plural = word.length() > 3 && word.endsWith("s") && !word.endsWith("ss");
    return plural ? word.substring(0, word.length() - 1) : word;
  }
}
