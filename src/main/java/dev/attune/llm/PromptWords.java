package dev.attune.llm;

import java.util.Arrays;

/**
 * Texts of users and documents as a part of a prompt: on one line, and no more tokens than there is room for. Nothing
 * in them becomes a control token.
 */
public final class PromptWords {

  /** A token stands for about four characters; text beyond this many per token of the budget is not tokenised. */
  public static final int CHARACTERS_PER_TOKEN = 12;

  /** How far back from the budget a word boundary is looked for. */
  private static final int LONGEST_WORD = 32;

  private PromptWords() {}

  /**
   * A text with one space for each run of white space and control characters, none at its ends. An unpaired surrogate,
   * which has no UTF-8, becomes U+FFFD. What is far beyond {@code budget} tokens is left out, from a word on.
   */
  public static String line(String text, int budget) {
    long limit = (long) Math.max(0, budget) * CHARACTERS_PER_TOKEN;
    StringBuilder line = new StringBuilder((int) Math.min(text.length(), limit + 2));
    boolean gap = false;
    int i = 0;
    while (i < text.length() && line.length() < limit) {
      int c = text.codePointAt(i);
      i += Character.charCount(c);
      if (Character.isWhitespace(c) || Character.isISOControl(c) || Character.isSpaceChar(c)) {
        gap = !line.isEmpty();
        continue;
      }
      if (gap) {
        line.append(' ');
        gap = false;
      }
      line.appendCodePoint(c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE ? 0xfffd : c);
    }
    int lastWord = line.lastIndexOf(" ");
    return i < text.length() && lastWord > limit / 2 ? line.substring(0, lastWord) : line.toString();
  }

  /** Tokens of a line after one space, at most {@code budget}, ending at a word boundary where there is one. */
  public static int[] tokens(Tokenizer tokenizer, String line, int budget) {
    if (line.isEmpty() || budget <= 0) {
      return new int[0];
    }
    int[] tokens = tokenizer.encode(" " + line);
    if (tokens.length <= budget) {
      return tokens;
    }
    for (int end = budget; end > Math.max(0, budget - LONGEST_WORD); end--) {
      if (tokenizer.decode(new int[] {tokens[end]}).startsWith(" ")) {
        return Arrays.copyOf(tokens, end);
      }
    }
    return Arrays.copyOf(tokens, budget);
  }
}
