package dev.attune.ranking;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.KvSegment;
import dev.attune.ranking.BlockPrompt.LastBlock;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** The attention of the last block's signal tokens to documents, transformed. */
final class SignalAttention {

  private final InferenceBackend backend;
  private final int lastPosition;
  private final int layer;

  SignalAttention(InferenceBackend backend, int lastPosition, int layer) {
    this.backend = backend;
    this.lastPosition = lastPosition;
    this.layer = layer;
  }

  /**
   * Masses of the documents, summing to 1.
   *
   * @param empty the last block of a query without content
   */
  float[] masses(
      ScoreTransform transform, KvSegment instruction, List<KvSegment> documents, LastBlock last, LastBlock empty) {
    return switch (transform) {
      case NONE -> probe(instruction, documents, last, layer);
      case DEBIASED -> debiased(
          probe(instruction, documents, last, layer), probe(instruction, documents, empty, layer));
      case SINKS_CALIBRATED -> sinks(SinkTransform.CALIBRATED, instruction, documents, last);
      case SINKS_REDISTRIBUTED -> sinks(SinkTransform.REDISTRIBUTED, instruction, documents, last);
      case ACCUMULATED -> accumulated(instruction, documents, last);
    };
  }

  private float[] debiased(float[] masses, float[] prior) {
    float[] relative = new float[masses.length];
    for (int i = 0; i < masses.length; i++) {
      relative[i] = prior[i] > 0 ? masses[i] / prior[i] : 0;
    }
    return normalised(relative, masses);
  }

  private float[] accumulated(KvSegment instruction, List<KvSegment> documents, LastBlock last) {
    float[] sum = new float[documents.size()];
    float[] below = probe(instruction, documents, last, layer / 2);
    float[] at = below;
    for (int l = layer / 2 + 1; l <= layer; l++) {
      at = probe(instruction, documents, last, l);
      for (int i = 0; i < sum.length; i++) {
        sum[i] += Math.max(0, at[i] - below[i]);
      }
      below = at;
    }
    return normalised(sum, at);
  }

  private float[] sinks(
      SinkTransform transform, KvSegment instruction, List<KvSegment> documents, LastBlock last) {
    int[] documentOf = IntStream.range(0, documents.size())
        .flatMap(d -> IntStream.generate(() -> d).limit(documents.get(d).slots(0, 0)))
        .toArray();
    return transform.masses(probe(instruction, documents, last, layer, true), documentOf);
  }

  private float[] probe(KvSegment instruction, List<KvSegment> scored, LastBlock last, int at) {
    return probe(instruction, scored, last, at, false);
  }

  private float[] probe(KvSegment instruction, List<KvSegment> scored, LastBlock last, int at, boolean bySlot) {
    List<KvSegment> context = new ArrayList<>(scored.size() + 1);
    context.add(instruction);
    context.addAll(scored);
    Probe probe = new Probe(last.signals(), IntStream.rangeClosed(1, scored.size()).toArray(), bySlot);
    Pass pass = new Pass(last.tokens(), lastPosition, context, at, false, Logits.NONE, probe);
    return backend.run(List.of(pass)).getFirst().attention();
  }

  /** Masses that sum to 1; the others where there is nothing to sum. */
  private static float[] normalised(float[] masses, float[] otherwise) {
    float sum = 0;
    float[] sorted = masses.clone();
    // Summed in order of size, so that the order of the documents does not matter.
    Arrays.sort(sorted);
    for (float mass : sorted) {
      sum += mass;
    }
    if (!(sum > 0)) {
      return otherwise;
    }
    float[] scaled = new float[masses.length];
    for (int i = 0; i < masses.length; i++) {
      scaled[i] = masses[i] / sum;
    }
    return scaled;
  }
}
