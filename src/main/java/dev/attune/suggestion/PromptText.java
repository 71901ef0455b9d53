package dev.attune.suggestion;

import dev.attune.llm.PromptWords;
import dev.attune.llm.Tokenizer;
import java.util.Arrays;
import java.util.Locale;

/**
 * A piece of prompt.
 *
 * @param tokens ids
 * @param text what they say, control tokens included
 */
record PromptText(int[] tokens, String text) {

  static final PromptText EMPTY = new PromptText(new int[0], "");

  /** Text of ours, in which control tokens count. */
  static PromptText frame(Tokenizer tokenizer, String text) {
    return new PromptText(tokenizer.encodeWithControls(text), text);
  }

  /**
   * Text of others after a space, in lower case, on one line and cut at a word boundary; nothing in it becomes a
   * control token.
   *
   * @param budget most tokens; 0 or less gives nothing
   */
  static PromptText plain(Tokenizer tokenizer, String text, int budget) {
    String line = PromptWords.line(text, budget).toLowerCase(Locale.ROOT);
    int[] tokens = PromptWords.tokens(tokenizer, line, budget);
    return tokens.length == 0 ? EMPTY : new PromptText(tokens, tokenizer.decode(tokens));
  }

  PromptText plus(PromptText other) {
    int[] joined = Arrays.copyOf(tokens, tokens.length + other.tokens.length);
    System.arraycopy(other.tokens, 0, joined, tokens.length, other.tokens.length);
    return new PromptText(joined, text + other.text);
  }

  int length() {
    return tokens.length;
  }
}
