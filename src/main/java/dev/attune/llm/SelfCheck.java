package dev.attune.llm;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.InferenceBackend.Probe;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Whether a backend computes the same by its different ways: a text read at once, its end as a last block over the
 * rest, alone and beside others, and its end token by token. A GPU has kernels of its own for each, compiled for it by
 * the driver's compiler, so that what one of them does wrong shows before it answers anybody.
 */
final class SelfCheck {

  /** Difference that rounding to 16 bits does not make, nor one of keys and values to int8. */
  static final double LIMIT = 0.1;
  /** Difference that rounding to FP8 does not make. */
  static final double LIMIT_FP8 = 0.25;

  /** Tokens before the last block, a segment each; more than any kernel of few tokens takes, all together. */
  private static final int[] SHORT = {23, 16, 17};
  /** More tiles of keys than a kernel has room for at once. */
  private static final int[] LONG = {127, 16, 417};
  private static final int LAST = 40;
  /** Most tokens that kernels of few tokens take. */
  private static final int FEW = 64;

  private final InferenceBackend backend;
  private final ModelConfig config;
  private final int[] segments;
  private final int context;
  private final int[] tokens;

  private SelfCheck(InferenceBackend backend, ModelConfig config, int[] segments) {
    this.backend = backend;
    this.config = config;
    this.segments = segments;
    context = IntStream.of(segments).sum();
    tokens = IntStream.range(0, context + LAST).map(i -> (int) ((7919L * i + 13) % config.vocabulary())).toArray();
  }

  /**
   * How far each way is from reading at once: the length of the difference of two vectors, of logits less their mean or
   * of masses, over the length of the first.
   *
   * @param byWay in the order in which they were tried
   */
  record Differences(Map<String, Double> byWay) {

    /** The first way that differs by more than the limit, or nothing. */
    Optional<String> beyond(double limit) {
      // Not a number is not below it either.
      return byWay.entrySet().stream().filter(way -> !(way.getValue() <= limit)).findFirst()
          .map(way ->
              String.format(Locale.ROOT, "%s differs by %.3f from reading at once", way.getKey(), way.getValue()));
    }

    @Override
    public String toString() {
      return byWay.entrySet().stream()
          .map(way -> String.format(Locale.ROOT, "%s %.4f", way.getKey(), way.getValue()))
          .collect(Collectors.joining(", "));
    }
  }

  static Differences of(InferenceBackend backend, ModelConfig config) {
    Map<String, Double> found = new LinkedHashMap<>();
    new SelfCheck(backend, config, SHORT).compare("", found);
    SelfCheck longer = new SelfCheck(backend, config, LONG);
    if (longer.tokens.length <= config.context()) {
      longer.compare(" of a long text", found);
    }
    return new Differences(found);
  }

  private void compare(String what, Map<String, Double> found) {
    float[] atOnce = logits(0, tokens.length, List.of());
    List<KvSegment> read = read(config.layers());
    found.put("a last block" + what, difference(atOnce, logits(context, tokens.length, read)));
    // What a GPU records of a pass it plays the second time.
    found.put("a repeated last block" + what, difference(atOnce, logits(context, tokens.length, read)));
    found.put("a last block beside others" + what, together(atOnce, read));
    found.put("decoding" + what, difference(atOnce, decoded(read)));
    int middle = config.layers() / 2;
    List<KvSegment> scored = read(middle);
    Probe probe = new Probe(new int[] {LAST - 2, LAST - 1}, IntStream.range(0, scored.size()).toArray());
    float[] kept = pass(context, tokens.length, scored, middle, true, probe).attention();
    found.put("the score of a last block" + what,
        difference(kept, pass(context, tokens.length, scored, middle, false, probe).attention()));
  }

  private static double difference(float[] expected, float[] actual) {
    double squares = 0;
    double difference = 0;
    for (int i = 0; i < expected.length; i++) {
      squares += (double) expected[i] * expected[i];
      difference += Math.pow((double) expected[i] - actual[i], 2);
    }
    return Math.sqrt(difference / squares);
  }

  /** The most that a last block of one call of several differs: two ends, and another start where that is near. */
  private double together(float[] atOnce, List<KvSegment> read) {
    int earlier = tokens.length - 7;
    List<Pass> passes = new ArrayList<>(List.of(ending(context, tokens.length, read), ending(context, earlier, read),
        ending(context, tokens.length, read)));
    List<float[]> expected = new ArrayList<>(List.of(atOnce, logits(0, earlier, List.of()), atOnce));
    int last = segments[segments.length - 1];
    if (last + LAST <= FEW) {
      passes.add(ending(context - last, tokens.length, read.subList(0, read.size() - 1)));
      expected.add(atOnce);
    }
    List<PassResult> results = backend.run(passes);
    return IntStream.range(0, results.size())
        .mapToDouble(i -> difference(expected.get(i), centred(results.get(i)))).max().orElseThrow();
  }

  private List<KvSegment> read(int layers) {
    List<KvSegment> read = new ArrayList<>();
    int from = 0;
    for (int length : segments) {
      read.add(Objects.requireNonNull(pass(from, from + length, read, layers, true, null).kv()));
      from += length;
    }
    return read;
  }

  private float[] decoded(List<KvSegment> read) {
    List<KvSegment> all = new ArrayList<>(read);
    for (int i = context; i < tokens.length - 1; i++) {
      all.add(Objects.requireNonNull(pass(i, i + 1, all, config.layers(), true, null).kv()));
    }
    return logits(tokens.length - 1, tokens.length, all);
  }

  private Pass ending(int from, int to, List<KvSegment> over) {
    return new Pass(Arrays.copyOfRange(tokens, from, to), from, over, config.layers(), false, Logits.LAST, null);
  }

  private float[] logits(int from, int to, List<KvSegment> over) {
    return centred(backend.run(List.of(ending(from, to, over))).getFirst());
  }

  private static float[] centred(PassResult result) {
    float[] found = result.logits()[0];
    // Probabilities do not depend on the mean, which is most of what a real model's logits are.
    double mean = IntStream.range(0, found.length).mapToDouble(i -> found[i]).average().orElseThrow();
    for (int i = 0; i < found.length; i++) {
      found[i] -= (float) mean;
    }
    return found;
  }

  private PassResult pass(
      int from, int to, List<KvSegment> over, int layers, boolean keepKv, @Nullable Probe probe) {
    return backend.run(List.of(
        new Pass(Arrays.copyOfRange(tokens, from, to), from, over, layers, keepKv, Logits.NONE, probe))).getFirst();
  }
}
