package dev.attune.evaluation;

import dev.attune.llm.kv.KvCodec;
import dev.attune.ranking.RankingVariants.Form;
import dev.attune.ranking.ScoreTransform;
import dev.attune.retrieval.DocumentIndex.Mode;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A way to rank the documents of a collection for a query.
 *
 * @param retriever that ranks alone; null for a system that ranks the candidates of the first stage
 * @param form how documents are kept for BlockRank; null for retrieval alone
 * @param fused whether BlockRank is fused with retrieval as in a search without a user
 */
record RankingSystem(String name, @Nullable Mode retriever, @Nullable Form form, boolean fused) {

  /** What the document KV store holds in the smallest form: one token in ten, in eight bits. */
  private static final Form INT8_TENTH = new Form(KvCodec.INT8, 0.1, ScoreTransform.NONE);

  private static final Map<String, RankingSystem> ALL = new LinkedHashMap<>();

  static {
    for (String name : List.of("bm25", "dense", "hybrid")) {
      ALL.put(name, new RankingSystem(name, mode(name), null, false));
    }
    Map<String, Form> forms = new LinkedHashMap<>();
    forms.put("", Form.FULL);
    forms.put("-int8", new Form(KvCodec.INT8, 1, ScoreTransform.NONE));
    forms.put("-int8-tenth", INT8_TENTH);
    forms.put("-debiased", new Form(null, 1, ScoreTransform.DEBIASED));
    forms.put("-sinks-calibrated", new Form(null, 1, ScoreTransform.SINKS_CALIBRATED));
    forms.put("-sinks-redistributed", new Form(null, 1, ScoreTransform.SINKS_REDISTRIBUTED));
    forms.put("-accumulated", new Form(null, 1, ScoreTransform.ACCUMULATED));
    forms.forEach(
        (suffix, form) -> {
          ALL.put("blockrank" + suffix, new RankingSystem("blockrank" + suffix, null, form, false));
          ALL.put("fused" + suffix, new RankingSystem("fused" + suffix, null, form, true));
        });
  }

  static List<String> names() {
    return List.copyOf(ALL.keySet());
  }

  /**
   * The system with this name.
   *
   * @throws IllegalArgumentException naming those that there are
   */
  static RankingSystem of(String name) {
    RankingSystem system = ALL.get(name.toLowerCase(Locale.ROOT));
    if (system == null) {
      throw new IllegalArgumentException("There is no system '" + name + "'; there are " + String.join(", ", names()));
    }
    return system;
  }

  /** The retriever with this name. */
  static Mode mode(String name) {
    return switch (name.toLowerCase(Locale.ROOT)) {
      case "bm25" -> Mode.LEXICAL;
      case "dense" -> Mode.DENSE;
      case "hybrid" -> Mode.HYBRID;
      default -> throw new IllegalArgumentException(
          "There is no retriever '" + name + "'; there are bm25, dense, hybrid");
    };
  }
}
