package dev.attune.evaluation;

import dev.attune.entity.EntityLinker;
import dev.attune.entity.LinkContext;
import dev.attune.entity.NameFinder;
import dev.attune.entity.NameFinder.Candidate;
import dev.attune.entity.NameFinder.Name;
import dev.attune.evaluation.LinkedTexts.Gold;
import dev.attune.evaluation.LinkedTexts.LinkedText;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * Compares a linker with marked entities. A mention is right when it overlaps the marked one and names the same entity
 * (the weak annotation match of Cornolti et al., WWW 2013); each marked one counts once. What people marked may not be
 * in the knowledge base: precision counts every mention, recall is given over what the knowledge base has, and over
 * all.
 */
final class LinkingEvaluation {

  /** Long enough for the compiler to be done. */
  private static final long WARM_UP_NANOS = 4_000_000_000L;

  private static final int TIMED = 5;

  private LinkingEvaluation() {}

  /**
   * Counts over a collection.
   *
   * @param gold marked entities
   * @param inKb of these, those that the knowledge base has
   */
  record Score(int gold, int inKb, int mentions, int right) {
    double precision() {
      return mentions == 0 ? 0 : (double) right / mentions;
    }

    double recall() {
      return inKb == 0 ? 0 : (double) right / inKb;
    }

    double f1() {
      return f1(inKb);
    }

    /** F1 when what the knowledge base lacks counts as missed. */
    double f1All() {
      return f1(gold);
    }

    private double f1(int wanted) {
      return right == 0 ? 0 : 2.0 * right / (mentions + wanted);
    }
  }

  private record Link(int start, int end, String entityId) {}

  /** The linker as a search uses it, without session and user. */
  static Score linker(EntityLinker linker, List<LinkedText> texts, Map<String, String> ids) {
    return score(
        texts,
        ids,
        text ->
            linker.link(text, LinkContext.NONE).stream()
                .map(m -> new Link(m.start(), m.end(), m.entityId()))
                .toList());
  }

  /**
   * Commonness alone: the most common candidate of every name, where it is common enough. The bound is the one that is
   * best on these very texts, which favours this baseline.
   */
  static Score commonness(NameFinder names, List<LinkedText> texts, Map<String, String> ids) {
    Score best = new Score(0, 0, 0, 0);
    for (double bound = 0; bound < 1; bound += 0.01) {
      double least = bound;
      Score score =
          score(
              texts,
              ids,
              text -> names.find(text).stream()
                  .filter(name -> !name.inner())
                  .filter(name -> name.candidates().getFirst().prior() >= least)
                  .map(name -> new Link(name.start(), name.end(), name.candidates().getFirst().entityId()))
                  .toList());
      best = bound == 0 || score.f1() > best.f1() ? score : best;
    }
    return best;
  }

  /** A marked entity that the knowledge base has, and whether it is among the candidates of a name that overlaps it. */
  record Wanted(String text, Gold gold, String entityId, boolean among) {}

  static List<Wanted> candidates(NameFinder names, List<LinkedText> texts, Map<String, String> ids) {
    List<Wanted> wanted = new ArrayList<>();
    for (LinkedText text : texts) {
      List<Name> all = names.find(text.text());
      for (Gold gold : text.gold()) {
        String id = ids.get(gold.title());
        if (id != null) {
          boolean among =
              all.stream()
                  .filter(name -> name.start() < gold.end() && gold.start() < name.end())
                  .flatMap(name -> name.candidates().stream())
                  .map(Candidate::entityId)
                  .anyMatch(id::equals);
          wanted.add(new Wanted(text.text(), gold, id, among));
        }
      }
    }
    return wanted;
  }

  /** Share of the marked entities in the knowledge base that are candidates. */
  static double candidateRecall(List<Wanted> wanted) {
    return wanted.isEmpty() ? 0 : (double) wanted.stream().filter(Wanted::among).count() / wanted.size();
  }

  /** Median and 99th percentile of the time that a call takes, in milliseconds, of all calls after the warm-up. */
  static double[] latency(EntityLinker linker, List<LinkedText> texts) {
    long began = System.nanoTime();
    while (System.nanoTime() - began < WARM_UP_NANOS) {
      texts.forEach(text -> linker.link(text.text(), LinkContext.NONE));
    }
    double[] millis = new double[TIMED * texts.size()];
    for (int i = 0; i < millis.length; i++) {
      long start = System.nanoTime();
      linker.link(texts.get(i % texts.size()).text(), LinkContext.NONE);
      millis[i] = (System.nanoTime() - start) / 1e6;
    }
    Arrays.sort(millis);
    return new double[] {millis[millis.length / 2], millis[(int) (0.99 * (millis.length - 1))]};
  }

  private static Score score(List<LinkedText> texts, Map<String, String> ids, Function<String, List<Link>> linker) {
    int gold = 0;
    int inKb = 0;
    int mentions = 0;
    int right = 0;
    for (LinkedText text : texts) {
      List<Link> links = linker.apply(text.text());
      boolean[] used = new boolean[links.size()];
      mentions += links.size();
      for (Gold wanted : text.gold()) {
        gold++;
        String id = ids.get(wanted.title());
        inKb += id == null ? 0 : 1;
        for (int i = 0; i < used.length; i++) {
          Link link = links.get(i);
          if (!used[i] && link.entityId.equals(id) && link.start < wanted.end() && wanted.start() < link.end) {
            used[i] = true;
            right++;
            break;
          }
        }
      }
    }
    return new Score(gold, inKb, mentions, right);
  }
}
