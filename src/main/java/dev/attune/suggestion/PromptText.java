package dev.attune.suggestion;

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

  /** How far back from the budget a word boundary is looked for. */
  private static final int LONGEST_WORD = 24;

  /** A token stands for about four characters; text far beyond the budget is not even tokenised. */
  static final int CHARACTERS_PER_TOKEN = 12;

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
    String line = line(text, Math.max(0, budget) * CHARACTERS_PER_TOKEN).toLowerCase(Locale.ROOT);
    if (budget <= 0 || line.isEmpty()) {
      return EMPTY;
    }
    int[] tokens = tokenizer.encode(" " + line);
    if (tokens.length > budget) {
      int end = budget;
      while (end > Math.max(1, budget - LONGEST_WORD) && !startsWord(tokenizer, tokens[end])) {
        end--;
      }
      tokens = Arrays.copyOf(tokens, startsWord(tokenizer, tokens[end]) ? end : budget);
    }
    return new PromptText(tokens, tokenizer.decode(tokens));
  }

  PromptText plus(PromptText other) {
    int[] joined = Arrays.copyOf(tokens, tokens.length + other.tokens.length);
    System.arraycopy(other.tokens, 0, joined, tokens.length, other.tokens.length);
    return new PromptText(joined, text + other.text);
  }

  int length() {
    return tokens.length;
  }

  private static boolean startsWord(Tokenizer tokenizer, int token) {
    return tokenizer.decode(new int[] {token}).startsWith(" ");
  }

  /** White space and control characters become one space each run; unpaired surrogates, which have no UTF-8, go. */
  private static String line(String text, int limit) {
    StringBuilder line = new StringBuilder();
    for (int i = 0; i < text.length() && line.length() < limit; ) {
      int c = text.codePointAt(i);
      i += Character.charCount(c);
      if (Character.isWhitespace(c) || Character.isSpaceChar(c) || Character.isISOControl(c)) {
        if (!line.isEmpty() && line.charAt(line.length() - 1) != ' ') {
          line.append(' ');
        }
      } else if (c < Character.MIN_SURROGATE || c > Character.MAX_SURROGATE) {
        line.appendCodePoint(c);
      }
    }
    return line.toString().strip();
  }
}
