package dev.attune.evaluation;

import dev.attune.evaluation.RankingMetrics.Scored;
import dev.attune.ranking.RankFusion;
import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.ranking.RankingVariants;
import dev.attune.ranking.RankingVariants.Form;
import dev.attune.ranking.RankingVariants.Masses;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.DocumentIndex.Candidate;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** One query ranked by several systems; what they share is computed once, and each system's time counts its parts. */
final class QueryRanking {

  private final Setting setting;
  private final String query;
  private final Map<Mode, Timed<List<Candidate>>> found = new EnumMap<>(Mode.class);
  private @Nullable Masses masses;

  QueryRanking(Setting setting, String query) {
    this.setting = setting;
    this.query = query;
  }

  /**
   * What the systems rank.
   *
   * @param firstStage whose candidates BlockRank ranks
   * @param candidates length of the lists
   * @param forms in which BlockRank is to keep documents
   * @param variants asked for once BlockRank is
   */
  record Setting(
      DocumentIndex index,
      Mode firstStage,
      int candidates,
      List<Form> forms,
      Supplier<RankingVariants> variants,
      RankFusion fusion) {}

  /**
   * A ranking.
   *
   * @param millis time without reading documents, which counts once in a document's life
   */
  record Ranked(List<Scored> ranking, double millis) {}

  Ranked by(RankingSystem system) {
    Form form = system.form();
    Timed<List<Candidate>> first =
        found(form == null ? Objects.requireNonNull(system.retriever()) : setting.firstStage);
    List<Candidate> list = first.value;
    if (form == null) {
      return new Ranked(list.stream().map(c -> new Scored(c.document().id(), c.score())).toList(), first.millis);
    }
    Masses all = masses(list);
    int which = setting.forms.indexOf(form);
    double[] mass = all.masses().get(which);
    double millis = first.millis + all.scoring().get(which).toNanos() / 1e6;
    return new Ranked(system.fused() ? fused(list, mass) : scored(list, mass), millis);
  }

  private static List<Scored> scored(List<Candidate> list, double[] mass) {
    return IntStream.range(0, list.size()).mapToObj(i -> new Scored(list.get(i).document().id(), mass[i])).toList();
  }

  private List<Scored> fused(List<Candidate> list, double[] mass) {
    List<RankFusion.Evidence> evidence = new ArrayList<>();
    for (int i = 0; i < list.size(); i++) {
      evidence.add(new RankFusion.Evidence(list.get(i).score(), mass[i], 0));
    }
    return scored(list, setting.fusion.fuse(evidence).scores());
  }

  private Masses masses(List<Candidate> list) {
    Masses known = masses;
    if (known == null) {
      List<RankCandidate> texts =
          list.stream()
              .map(c -> new RankCandidate(c.document().id(), c.document().title(), c.document().text()))
              .toList();
      known = setting.variants.get().rank(query, texts, List.of(), setting.forms);
      masses = known;
    }
    return known;
  }

  private Timed<List<Candidate>> found(Mode mode) {
    return found.computeIfAbsent(
        mode,
        key -> {
          long start = System.nanoTime();
          RetrievalRequest request = new RetrievalRequest(query, key, setting.candidates, Map.of(), List.of());
          List<Candidate> candidates = setting.index.search(request).candidates();
          return new Timed<>(candidates, (System.nanoTime() - start) / 1e6);
        });
  }

  private record Timed<T>(T value, double millis) {}
}
