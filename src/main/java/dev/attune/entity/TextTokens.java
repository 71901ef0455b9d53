package dev.attune.entity;

import java.nio.charset.StandardCharsets;
import java.text.Normalizer;
import java.util.Arrays;
import java.util.Locale;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The normalised tokens of a text, with their place in it. Names and texts are normalised alike: lower case, no
 * accents, no punctuation, {@code &} as {@code and}, no possessive {@code 's}, and (if asked for) singular by
 * Harman's S-stemmer. Scripts without spaces give one token per character.
 */
final class TextTokens {

  private static final Pattern MARKS = Pattern.compile("\\p{M}+");
  /** Longer runs are no names (identifiers, base64); they are cut to keep the work per token bounded. */
  private static final int MAX_TOKEN_CHARS = 64;

  private final String text;
  private int[] starts = new int[16];
  private int[] ends = new int[16];
  private int[] offsets = new int[17];
  private byte[] terms = new byte[128];
  private int size;

  private TextTokens(String text) {
    this.text = text;
  }

  /** Tokens of a text, in the singular, as the tagger compares them. */
  static TextTokens of(String text) {
    return tokenize(text, true);
  }

  /** Key of a name that keeps the plural: equal keys are the same name. Empty if the name has no letter or digit. */
  static String nameKey(String name) {
    return tokenize(name, false).joined(' ');
  }

  /** Key of a name as the tagger compares it. */
  static String matchKey(String name) {
    return tokenize(name, true).joined(' ');
  }

  private static TextTokens tokenize(String text, boolean singular) {
    TextTokens tokens = new TextTokens(text);
    int length = text.length();
    int i = 0;
    while (i < length) {
      int c = text.codePointAt(i);
      if (c == '&') {
        tokens.add(i, i + 1, "and");
        i++;
      } else if (!isWordPart(c)) {
        i += Character.charCount(c);
      } else if (standsAlone(c)) {
        int end = i + Character.charCount(c);
        tokens.add(i, end, text.substring(i, end));
        i = end;
      } else {
        int end = wordEnd(text, i);
        String term = normalize(text.substring(i, Math.min(end, i + MAX_TOKEN_CHARS)), singular);
        if (!term.isEmpty()) {
          tokens.add(i, end, term);
        }
        i = end;
      }
    }
    return tokens;
  }

  private static int wordEnd(String text, int start) {
    int i = start;
    while (i < text.length()) {
      int c = text.codePointAt(i);
      int next = i + Character.charCount(c);
      boolean inWord = isWordPart(c) && !standsAlone(c);
      // An apostrophe between letters belongs to the word: Nyong'o.
      boolean apostrophe = isApostrophe(c) && i > start && next < text.length()
          && Character.isLetter(text.codePointAt(next));
      if (!inWord && !apostrophe) {
        break;
      }
      i = next;
    }
    return i;
  }

  private static boolean isWordPart(int c) {
    return Character.isLetterOrDigit(c) || Character.getType(c) == Character.NON_SPACING_MARK;
  }

  private static boolean isApostrophe(int c) {
    return c == '\'' || c == '’' || c == 'ʼ';
  }

  /** Scripts written without spaces between words. */
  private static boolean standsAlone(int c) {
    if (c < 0x0E00) {
      return false;
    }
    return switch (Character.UnicodeScript.of(c)) {
      case HAN, HIRAGANA, KATAKANA, THAI, LAO, KHMER, MYANMAR -> true;
      default -> false;
    };
  }

  private static String normalize(String word, boolean singular) {
    String plain = word.toLowerCase(Locale.ROOT);
    boolean ascii = true;
    for (int i = 0; i < plain.length() && ascii; i++) {
      ascii = plain.charAt(i) < 128;
    }
    if (!ascii) {
      plain = MARKS.matcher(Normalizer.normalize(plain, Normalizer.Form.NFKD)).replaceAll("")
          .replace("ß", "ss").replace("ø", "o").replace("ł", "l").replace("æ", "ae").replace("œ", "oe")
          .replace("đ", "d").replace("ı", "i").replace('’', '\'').replace('ʼ', '\'').toLowerCase(Locale.ROOT);
    }
    if (plain.endsWith("'s")) {
      plain = plain.substring(0, plain.length() - 2);
    }
    plain = plain.replace("'", "");
    return singular ? singular(plain) : plain;
  }

  /** D. Harman, How effective is suffixing?, JASIS 42 (1991): the S-stemmer. */
  static String singular(String word) {
    int n = word.length();
    if (n < 4 || word.charAt(n - 1) != 's') {
      return word;
    }
    if (word.endsWith("ies")) {
      return word.endsWith("eies") || word.endsWith("aies") ? word : word.substring(0, n - 3) + "y";
    }
    if (word.endsWith("es")) {
      return word.endsWith("aes") || word.endsWith("ees") || word.endsWith("oes") ? word : word.substring(0, n - 1);
    }
    return word.endsWith("us") || word.endsWith("ss") ? word : word.substring(0, n - 1);
  }

  private void add(int start, int end, String term) {
    byte[] bytes = term.getBytes(StandardCharsets.UTF_8);
    if (size == starts.length) {
      starts = Arrays.copyOf(starts, size * 2);
      ends = Arrays.copyOf(ends, size * 2);
      offsets = Arrays.copyOf(offsets, size * 2 + 1);
    }
    int from = offsets[size];
    if (from + bytes.length > terms.length) {
      terms = Arrays.copyOf(terms, Math.max(terms.length * 2, from + bytes.length));
    }
    System.arraycopy(bytes, 0, terms, from, bytes.length);
    starts[size] = start;
    ends[size] = end;
    size++;
    offsets[size] = from + bytes.length;
  }

  int size() {
    return size;
  }

  /**
   * The same tokens, of which some are cut into several.
   *
   * @param cuts for each token null, or where its parts start and end in the text, pairwise and in order
   */
  TextTokens cut(int @Nullable [] [] cuts) {
    TextTokens parts = new TextTokens(text);
    for (int token = 0; token < size; token++) {
      int[] cut = cuts[token];
      if (cut == null) {
        parts.add(starts[token], ends[token], term(token));
      }
      for (int i = 0; cut != null && i < cut.length; i += 2) {
        parts.add(cut[i], cut[i + 1], normalize(text.substring(cut[i], cut[i + 1]), true));
      }
    }
    return parts;
  }

  /** Offset of the token's first UTF-16 unit in the text. */
  int start(int token) {
    return starts[token];
  }

  /** Offset after the token's last UTF-16 unit. */
  int end(int token) {
    return ends[token];
  }

  /** Text between two offsets. */
  String text(int from, int to) {
    return text.substring(from, to);
  }

  /** UTF-8 of all terms, back to back. */
  byte[] bytes() {
    return terms;
  }

  /** Where the token's term starts in {@link #bytes()}; that of {@code size()} is the end of the last. */
  int offset(int token) {
    return offsets[token];
  }

  String term(int token) {
    return new String(terms, offsets[token], offsets[token + 1] - offsets[token], StandardCharsets.UTF_8);
  }

  /** Whether the text writes the token with a capital first letter. */
  boolean capitalised(int token) {
    int first = text.codePointAt(starts[token]);
    return Character.isUpperCase(first) || Character.isTitleCase(first);
  }

  /** Whether the token has cases at all and is written in lower case. */
  boolean lowerCase(int token) {
    return Character.isLowerCase(text.codePointAt(starts[token]));
  }

  /** Whether the token opens the text or follows the end of a sentence. */
  boolean opensSentence(int token) {
    for (int i = starts[token] - 1; i >= 0 && (token == 0 || i >= ends[token - 1]); i--) {
      char c = text.charAt(i);
      if (c == '.' || c == '!' || c == '?' || c == '\n' || c == ':' || c == '"' || c == '“') {
        return true;
      }
    }
    return token == 0;
  }

  String joined(char separator) {
    StringBuilder joined = new StringBuilder();
    for (int i = 0; i < size; i++) {
      if (i > 0) {
        joined.append(separator);
      }
      joined.append(term(i));
    }
    return joined.toString();
  }
}
