package dev.attune.web;

/**
 * What the stores of the service can hold: PostgreSQL has no U+0000, and UTF-8 no unpaired surrogates. What becomes of
 * other texts differs: ids and documents are refused, since they come back as they were sent; words of a search log and
 * of a knowledge base are kept without what cannot be stored.
 */
public final class StorableText {

  private StorableText() {}

  public static boolean storable(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (!storable(text, i)) {
        return false;
      }
    }
    return true;
  }

  /** Whether the character at an index can be stored, as part of its surrogate pair if it is one. */
  public static boolean storable(String text, int index) {
    char c = text.charAt(index);
    if (Character.isHighSurrogate(c)) {
      return index + 1 < text.length() && Character.isLowSurrogate(text.charAt(index + 1));
    }
    if (Character.isLowSurrogate(c)) {
      return index > 0 && Character.isHighSurrogate(text.charAt(index - 1));
    }
    return c != '\0';
  }
}
