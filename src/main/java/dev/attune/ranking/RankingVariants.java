package dev.attune.ranking;

import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.kv.KvCodec;
import dev.attune.ranking.Ranker.RankCandidate;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Ranks the same list with its documents kept in several forms, for evaluation: each document is read once for all of
 * them. There is no budget. The masses are those that {@link Ranker} gives when it is set to a form. Not thread-safe.
 */
public final class RankingVariants {

  private final RankingModel model;
  private final int batch;
  private final TieredDocumentKv kept;

  private RankingVariants(RankingModel model, RankingProperties properties) {
    this.model = model;
    this.batch = properties.batch();
    this.kept = new TieredDocumentKv(properties.residentSize().toBytes(), null);
  }

  /**
   * How keys and values of documents are kept.
   *
   * @param codec null for that of the model's KV policy
   * @param keptTokens share of a document's tokens, in (0,1]
   * @param transform of the attention
   */
  public record Form(@Nullable KvCodec codec, double keptTokens, ScoreTransform transform) {

    /** Everything as the model keeps it. */
    public static final Form FULL = new Form(null, 1, ScoreTransform.NONE);

    /** What is kept, whatever is done with it. */
    private Form plain() {
      return new Form(codec, keptTokens, ScoreTransform.NONE);
    }
  }

  /**
   * The outcome.
   *
   * @param masses BlockRank mass per form and candidate, each form summing to 1
   * @param scoring time per form of the last block over documents that are read
   */
  public record Masses(List<double[]> masses, List<Duration> scoring) {}

  /** Identifies the model, its adapter and its numerics. */
  public String fingerprint() {
    return model.fingerprint();
  }

  /**
   * Ranks a list.
   *
   * @param memory the user's matching entities as text for the last block
   */
  public Masses rank(String query, List<RankCandidate> candidates, List<String> memory, List<Form> forms) {
    if (candidates.isEmpty()) {
      return new Masses(forms.stream().map(f -> new double[0]).toList(),
          forms.stream().map(f -> Duration.ZERO).toList());
    }
    KvSegment instruction = model.instruction(query);
    BlockPrompt.LastBlock last = model.prompt().last(query, memory);
    List<Map<Form, KvSegment>> read =
        read(instruction, candidates, forms.stream().map(Form::plain).distinct().toList());
    List<double[]> masses = new ArrayList<>();
    List<Duration> times = new ArrayList<>();
    for (Form form : forms) {
      List<KvSegment> segments = read.stream().map(segment -> segment.get(form.plain())).toList();
      long start = System.nanoTime();
      float[] mass = model.score(instruction, segments, last, form.transform());
      times.add(Duration.ofNanos(System.nanoTime() - start));
      double[] wide = new double[mass.length];
      for (int i = 0; i < mass.length; i++) {
        wide[i] = mass[i];
      }
      masses.add(wide);
    }
    return new Masses(masses, times);
  }

  private List<Map<Form, KvSegment>> read(KvSegment instruction, List<RankCandidate> candidates, List<Form> forms) {
    List<Map<Form, KvSegment>> read = new ArrayList<>();
    List<Integer> missing = new ArrayList<>();
    for (int i = 0; i < candidates.size(); i++) {
      Map<Form, KvSegment> found = new HashMap<>();
      for (Form form : forms) {
        KvSegment segment = model.prompt().documentsOnce() ? kept.find(key(candidates.get(i), form)) : null;
        if (segment != null) {
          found.put(form, segment);
        }
      }
      if (found.size() < forms.size()) {
        missing.add(i);
      }
      read.add(found);
    }
    for (int from = 0; from < missing.size(); from += batch) {
      List<Integer> some = missing.subList(from, Math.min(missing.size(), from + batch));
      List<int[]> tokens =
          some.stream().map(i -> model.prompt().document(candidates.get(i).title(), candidates.get(i).text())).toList();
      List<KvSegment> whole = model.readWhole(instruction, tokens);
      for (int j = 0; j < some.size(); j++) {
        for (Form form : forms) {
          KvSegment segment = model.kept(whole.get(j), tokens.get(j), form.codec(), form.keptTokens());
          read.get(some.get(j)).put(form, segment);
          store(key(candidates.get(some.get(j)), form), segment);
        }
      }
    }
    return read;
  }

  private void store(DocumentKvStore.Key key, KvSegment segment) {
    if (model.prompt().documentsOnce()) {
      DocumentKvStore.Claim claim = kept.claim(key);
      if (claim.mine()) {
        claim.complete(segment);
      }
    }
  }

  private DocumentKvStore.Key key(RankCandidate candidate, Form form) {
    String hash = BlockPrompt.contentHash(candidate.title(), candidate.text());
    return new DocumentKvStore.Key(model.space() + form, hash, hash);
  }

  /** Makes them with the other settings of the service: prompt, signals, layer, document budget. */
  public static final class Factory {
    private final RankingProperties properties;

    Factory(RankingProperties properties) {
      this.properties = properties;
    }

    /**
     * Ranks with a model.
     *
     * @throws IllegalStateException when the settings do not fit the model; the message names the setting
     */
    public RankingVariants of(LanguageModel model) {
      return new RankingVariants(new RankingModel(model, properties), properties);
    }
  }
}
