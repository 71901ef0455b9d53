package dev.attune.llm.kv;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * How keys and values are kept, written {@code retention+codec[+selection]}, for example {@code
 * razor(retrieval=0.32,sink=4,window=256)+int8}. The three choices are independent of each other.
 *
 * @param retention which tokens of which head of a sequence are kept
 * @param codec how a kept row is stored
 * @param selection which kept tokens a decoding step reads
 */
public record KvPolicy(Retention retention, KvCodec codec, Selection selection) {

  /** Which kept tokens a decoding step reads. */
  public enum Selection {
    /** All. */
    ALL
  }

  private static final Pattern WORD = Pattern.compile("\\s*([a-z][a-z0-9-]*)\\s*(?:\\(([^()]*)\\))?\\s*");
  private static final int SINK = 4;
  private static final int WINDOW = 256;
  /** Segments of fewer tokens are not quantised. */
  private static final int SHORT = 16;

  /**
   * Parses a policy. Omitted choices are {@code full}, {@code fp16} and {@code all}; the order is free. Parameters that
   * are left out: {@code sink=4}, {@code window=256}, {@code retrieval=0.15}, {@code compensation=0}.
   *
   * @throws IllegalArgumentException naming the part that is wrong and what is possible
   */
  public static KvPolicy parse(String text) {
    @Nullable Retention retention = null;
    @Nullable KvCodec codec = null;
    @Nullable Selection selection = null;
    for (String part : text.toLowerCase(Locale.ROOT).split("\\+", -1)) {
      Matcher word = WORD.matcher(part);
      if (!word.matches()) {
        throw unknown(part.trim(), text);
      }
      String name = word.group(1);
      Parameters parameters = new Parameters(text, name, word.group(2));
      switch (name) {
        case "full", "streaming", "razor" -> {
          once(retention, "retention", text);
          retention = retention(name, parameters);
        }
        case "f32", "fp16", "bf16", "int8" -> {
          once(codec, "codec", text);
          codec = KvCodec.valueOf(name.toUpperCase(Locale.ROOT));
        }
        case "all" -> {
          once(selection, "selection", text);
          selection = Selection.ALL;
        }
        default -> throw unknown(name, text);
      }
      parameters.finish();
    }
    return new KvPolicy(
        retention == null ? new Retention.Full() : retention,
        codec == null ? KvCodec.FP16 : codec,
        selection == null ? Selection.ALL : selection);
  }

  /** Codec of a segment of so many tokens: scales of int8 pay from a few on; what decoding adds one by one is fp16. */
  public KvCodec codec(int tokens) {
    return codec == KvCodec.INT8 && tokens < SHORT ? KvCodec.FP16 : codec;
  }

  /** The same with rows stored in another way. */
  public KvPolicy in(KvCodec other) {
    return new KvPolicy(retention, other, selection);
  }

  private static Retention retention(String name, Parameters parameters) {
    try {
      return switch (name) {
        case "full" -> new Retention.Full();
        case "streaming" -> new Retention.Streaming(
            parameters.integer("sink", SINK), parameters.integer("window", WINDOW));
        default -> new Retention.Razor(
            parameters.number("retrieval", 0.15),
            parameters.integer("sink", SINK),
            parameters.integer("window", WINDOW),
            parameters.flag("compensation"));
      };
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("In KV policy '%s': %s".formatted(parameters.policy, e.getMessage()), e);
    }
  }

  private static void once(@Nullable Object before, String axis, String text) {
    if (before != null) {
      throw new IllegalArgumentException("KV policy '%s' names more than one %s".formatted(text, axis));
    }
  }

  private static IllegalArgumentException unknown(String word, String text) {
    return new IllegalArgumentException(("Unknown word '%s' in KV policy '%s'; retention is one of [full, streaming, "
        + "razor], codec one of [f32, fp16, bf16, int8], selection one of [all], for example "
        + "razor(retrieval=0.32,sink=4,window=256)+int8").formatted(word, text));
  }

  /** What stands between brackets; every parameter must be asked for. */
  private static final class Parameters {
    private final String policy;
    private final String word;
    private final Map<String, String> given = new LinkedHashMap<>();
    private final List<String> known = new ArrayList<>();

    Parameters(String policy, String word, @Nullable String text) {
      this.policy = policy;
      this.word = word;
      if (text != null && !text.isBlank()) {
        for (String one : text.split(",", -1)) {
          String[] pair = one.split("=", -1);
          if (pair.length != 2 || given.put(pair[0].trim(), pair[1].trim()) != null) {
            throw new IllegalArgumentException(
                "In KV policy '%s' a parameter of %s is not one name=value: '%s'".formatted(policy, word, one.trim()));
          }
        }
      }
    }

    int integer(String name, int otherwise) {
      double value = number(name, otherwise);
      if (value != Math.rint(value) || Math.abs(value) > Integer.MAX_VALUE) {
        throw new IllegalArgumentException(name + " is a whole number, not " + given.get(name));
      }
      return (int) value;
    }

    boolean flag(String name) {
      int value = integer(name, 0);
      if (value != 0 && value != 1) {
        throw new IllegalArgumentException(name + " is 0 or 1, not " + value);
      }
      return value == 1;
    }

    double number(String name, double otherwise) {
      known.add(name);
      String value = given.get(name);
      if (value == null) {
        return otherwise;
      }
      try {
        return Double.parseDouble(value);
      } catch (NumberFormatException e) {
        throw new IllegalArgumentException("%s is a number, not '%s'".formatted(name, value), e);
      }
    }

    void finish() {
      for (String name : given.keySet()) {
        if (!known.contains(name)) {
          throw new IllegalArgumentException(
              "In KV policy '%s' %s has no parameter '%s'; it has %s".formatted(policy, word, name, known));
        }
      }
    }
  }

  @Override
  public String toString() {
    String kept = retention + "+" + codec.name().toLowerCase(Locale.ROOT);
    return selection == Selection.ALL ? kept : kept + "+" + selection.name().toLowerCase(Locale.ROOT);
  }
}
