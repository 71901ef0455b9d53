package dev.attune.llm.generation;

import dev.attune.llm.Tokenizer;
import java.util.Arrays;

/**
 * The text of each token, read once: a grammar is asked about thousands of tokens a step, and the tokenizer decodes in
 * native code. Tokens that end within a character have no text of their own; they are decoded with those before them.
 */
final class TokenTexts {

  private static final String PARTIAL = "\uFFFD";

  private final Tokenizer tokenizer;
  /** Null until read. Races write the same text. */
  private final String[] texts;
  /** A token of one plain letter: after a whole character it decodes to just that. */
  private final int letter;

  TokenTexts(Tokenizer tokenizer) {
    this.tokenizer = tokenizer;
    this.texts = new String[tokenizer.vocabularySize()];
    this.letter = tokenizer.encode("x")[0];
  }

  boolean of(Tokenizer other) {
    return tokenizer == other;
  }

  Tokenizer tokenizer() {
    return tokenizer;
  }

  /** Whether the token holds whole characters only. */
  boolean whole(int token) {
    return !text(token).equals(PARTIAL);
  }

  /**
   * Decodes a sequence and one token more.
   *
   * @param text of the sequence
   * @param whole whether all tokens of the sequence are {@link #whole}
   */
  String after(int[] sequence, String text, boolean whole, int token) {
    if (whole && whole(token)) {
      return text + texts[token];
    }
    int[] longer = Arrays.copyOf(sequence, sequence.length + 1);
    longer[sequence.length] = token;
    return tokenizer.decode(longer);
  }

  private String text(int token) {
    String known = texts[token];
    if (known == null) {
      String alone = tokenizer.decode(new int[] {token});
      String followed = tokenizer.decode(new int[] {letter, token, letter});
      String letterText = tokenizer.decode(new int[] {letter});
      boolean whole = alone.indexOf('\uFFFD') < 0 && followed.equals(letterText + alone + letterText);
      known = whole ? alone : PARTIAL;
      texts[token] = known;
    }
    return known;
  }
}
