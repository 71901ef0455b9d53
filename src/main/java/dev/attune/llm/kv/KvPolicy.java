package dev.attune.llm.kv;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * How keys and values are kept, written {@code retention+codec[+selection]}, for example {@code full+bf16}. The three
 * choices are independent of each other.
 *
 * @param retention which tokens of which head are kept
 * @param codec how a kept row is stored
 * @param selection which kept tokens a decoding step reads
 */
public record KvPolicy(Retention retention, KvCodec codec, Selection selection) {

  /** Which tokens of which head are kept. */
  public enum Retention {
    /** All. */
    FULL
  }

  /** Which kept tokens a decoding step reads. */
  public enum Selection {
    /** All. */
    ALL
  }

  /**
   * Parses a policy. Omitted choices are {@code full}, {@code bf16} and {@code all}; the order is free.
   *
   * @throws IllegalArgumentException naming the word that is not known and those that are
   */
  public static KvPolicy parse(String text) {
    KvPolicy policy = new KvPolicy(Retention.FULL, KvCodec.BF16, Selection.ALL);
    for (String word : text.trim().split("\\s*\\+\\s*", -1)) {
      Optional<Retention> retention = find(Retention.values(), word);
      Optional<KvCodec> codec = find(KvCodec.values(), word);
      Optional<Selection> selection = find(Selection.values(), word);
      if (retention.isEmpty() && codec.isEmpty() && selection.isEmpty()) {
        throw new IllegalArgumentException("Unknown word '%s' in KV policy '%s'; retention is one of %s, codec one of "
            .formatted(word, text, names(Retention.values()))
            + "%s, selection one of %s, for example full+bf16"
                .formatted(names(KvCodec.values()), names(Selection.values())));
      }
      policy = new KvPolicy(
          retention.orElse(policy.retention), codec.orElse(policy.codec), selection.orElse(policy.selection));
    }
    return policy;
  }

  private static <E extends Enum<E>> Optional<E> find(E[] choices, String word) {
    return Arrays.stream(choices).filter(choice -> choice.name().equalsIgnoreCase(word)).findFirst();
  }

  private static <E extends Enum<E>> List<String> names(E[] choices) {
    return Arrays.stream(choices).map(choice -> choice.name().toLowerCase(Locale.ROOT)).toList();
  }

  @Override
  public String toString() {
    return (retention + "+" + codec + (selection == Selection.ALL ? "" : "+" + selection)).toLowerCase(Locale.ROOT);
  }
}
