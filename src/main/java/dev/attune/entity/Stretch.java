package dev.attune.entity;

import java.util.Arrays;

/** The terms of some tokens as one string with spaces between them, in which names with mistakes are looked for. */
final class Stretch {

  static final int MAX_BYTES = 40;

  private final byte[] bytes = new byte[MAX_BYTES];
  private final int[] tokenEndingAt = new int[MAX_BYTES + 1];
  private int length;

  /** Takes the tokens from {@code first} to before {@code end}, as far as they fit. */
  void set(TextTokens tokens, int first, int end) {
    length = 0;
    Arrays.fill(tokenEndingAt, -1);
    for (int token = first; token < end; token++) {
      int from = tokens.offset(token);
      int count = tokens.offset(token + 1) - from;
      int space = token > first ? 1 : 0;
      if (length + space + count > MAX_BYTES) {
        return;
      }
      if (space > 0) {
        bytes[length++] = ' ';
      }
      System.arraycopy(tokens.bytes(), from, bytes, length, count);
      length += count;
      tokenEndingAt[length] = token;
    }
  }

  byte[] bytes() {
    return bytes;
  }

  int length() {
    return length;
  }

  /** The token that ends before the byte, or -1 if none does. */
  int tokenEndingAt(int position) {
    return tokenEndingAt[position];
  }
}
