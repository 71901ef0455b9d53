package dev.attune.searchlog;

import dev.attune.web.StorableText;
import java.util.Locale;
import java.util.regex.Pattern;

/** Makes texts of clients fit for storage. */
final class LogText {

  static final int MAX_KEY = 200;

  private static final Pattern SPACES = Pattern.compile("\\s+");

  private LogText() {}

  /**
   * Replaces what cannot be stored, and other control characters, by spaces: a log is not refused for what a browser
   * sent, and words stay apart.
   */
  static String clean(String text) {
    StringBuilder clean = null;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      boolean control = Character.isISOControl(c) && c != '\n' && c != '\t' && c != '\r';
      if (control || !StorableText.storable(text, i)) {
        if (clean == null) {
          clean = new StringBuilder(text);
        }
        clean.setCharAt(i, ' ');
      }
    }
    return clean == null ? text : clean.toString();
  }

  /** Cuts to at most {@code max} characters, never inside a surrogate pair. */
  static String cut(String text, int max) {
    if (text.length() <= max) {
      return text;
    }
    return text.substring(0, Character.isHighSurrogate(text.charAt(max - 1)) ? max - 1 : max);
  }

  /** The form in which queries are compared for completion. */
  static String key(String text) {
    return cut(SPACES.matcher(text.strip()).replaceAll(" ").toLowerCase(Locale.ROOT), MAX_KEY);
  }

  /** A LIKE pattern for keys that start with the prefix as the user types it: a trailing space counts. */
  static String likePrefix(String prefix) {
    String key = cut(SPACES.matcher(clean(prefix).stripLeading()).replaceAll(" ").toLowerCase(Locale.ROOT), MAX_KEY);
    return key.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%";
  }
}
