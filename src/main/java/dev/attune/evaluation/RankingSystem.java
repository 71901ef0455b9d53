package dev.attune.evaluation;

import dev.attune.evaluation.RankingMetrics.Scored;
import dev.attune.ranking.RankFusion;
import dev.attune.ranking.Ranker;
import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.ranking.Ranker.RankRequest;
import dev.attune.ranking.Ranker.Ranking;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.DocumentIndex.Candidate;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** A way to rank the documents of a collection for a query. */
interface RankingSystem {

  List<String> NAMES = List.of("bm25", "dense", "hybrid", "blockrank", "fused");

  /** No query is given up for time: what is measured is quality. */
  Duration UNHURRIED = Duration.ofHours(1);

  /** Documents with scores, in the system's order. */
  List<Scored> rank(String query);

  /** Retrieval alone. */
  static RankingSystem retrieval(DocumentIndex index, Mode mode, int candidates) {
    return query ->
        candidates(index, mode, query, candidates).stream()
            .map(candidate -> new Scored(candidate.document().id(), candidate.score()))
            .toList();
  }

  /** The candidates of one retriever in the order of BlockRank; candidates that were not read come last. */
  static RankingSystem blockRank(DocumentIndex index, Mode firstStage, Ranker ranker, int candidates) {
    return query -> {
      List<Candidate> list = candidates(index, firstStage, query, candidates);
      double[] masses = rank(ranker, query, list).scores();
      List<Scored> scored = new ArrayList<>();
      for (int i = 0; i < list.size(); i++) {
        scored.add(new Scored(list.get(i).document().id(), Double.isNaN(masses[i]) ? -(i + 1) : masses[i]));
      }
      return scored;
    };
  }

  /** What a search does without a user: retrieval and BlockRank fused. */
  static RankingSystem fused(
      DocumentIndex index, Mode firstStage, Ranker ranker, RankFusion fusion, int candidates) {
    return query -> {
      List<Candidate> list = candidates(index, firstStage, query, candidates);
      double[] masses = rank(ranker, query, list).scores();
      List<RankFusion.Evidence> evidence = new ArrayList<>();
      for (int i = 0; i < list.size(); i++) {
        evidence.add(new RankFusion.Evidence(list.get(i).score(), masses[i], 0));
      }
      RankFusion.Fused fused = fusion.fuse(evidence);
      List<Scored> scored = new ArrayList<>();
      for (int i : fused.order()) {
        scored.add(new Scored(list.get(i).document().id(), fused.scores()[i]));
      }
      return scored;
    };
  }

  private static List<Candidate> candidates(DocumentIndex index, Mode mode, String query, int limit) {
    return index.search(new RetrievalRequest(query, mode, limit, Map.of(), List.of())).candidates();
  }

  /** BlockRank's masses, without a limit of time. */
  static Ranking rank(Ranker ranker, String query, List<Candidate> candidates) {
    Ranking ranking =
        ranker.rank(
            new RankRequest(
                query,
                candidates.stream()
                    .map(c -> new RankCandidate(c.document().id(), c.document().title(), c.document().text()))
                    .toList(),
                List.of(),
                UNHURRIED));
    if ("model".equals(ranking.degraded())) {
      throw new IllegalStateException("BlockRank cannot be evaluated without a language model; set attune.llm.model");
    }
    return ranking;
  }

  /** The retriever with this name. */
  static Mode mode(String name) {
    return switch (name.toLowerCase(Locale.ROOT)) {
      case "bm25" -> Mode.LEXICAL;
      case "dense" -> Mode.DENSE;
      case "hybrid" -> Mode.HYBRID;
      default -> throw new IllegalArgumentException("There is no retriever '" + name + "'; there are bm25, dense, hybrid");
    };
  }
}
