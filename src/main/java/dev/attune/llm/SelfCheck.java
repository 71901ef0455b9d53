package dev.attune.llm;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.InferenceBackend.Probe;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Whether a backend computes the same by its different ways: a text read at once, its end as a last block over the
 * rest, and its end token by token. A GPU has kernels of its own for each, compiled for it by the driver's compiler, so
 * that what one of them does wrong shows before it answers anybody.
 */
final class SelfCheck {

  /** Difference that rounding to 16 bits does not make, nor one of keys and values to int8. */
  static final double LIMIT = 0.1;
  /** Difference that rounding to FP8 does not make. */
  static final double LIMIT_FP8 = 0.25;

  /** Tokens before the last block, a segment each; more than any kernel of few tokens takes, all together. */
  private static final int[] SEGMENTS = {23, 16, 17};
  private static final int LAST = 40;

  private final InferenceBackend backend;
  private final ModelConfig config;
  private final double limit;
  private final int[] tokens;
  private final int context = IntStream.of(SEGMENTS).sum();

  private SelfCheck(InferenceBackend backend, ModelConfig config, double limit) {
    this.limit = limit;
    this.backend = backend;
    this.config = config;
    tokens = IntStream.range(0, context + LAST).map(i -> (int) ((7919L * i + 13) % config.vocabulary())).toArray();
  }

  /**
   * What disagrees, or nothing.
   *
   * @param limit largest length of the difference of two vectors of logits or masses over the length of the first
   */
  static Optional<String> complaint(InferenceBackend backend, ModelConfig config, double limit) {
    SelfCheck check = new SelfCheck(backend, config, limit);
    float[] atOnce = check.logits(0, check.tokens.length, List.of());
    List<KvSegment> read = check.read(config.layers());
    return check.differ("a last block", atOnce, check.logits(check.context, check.tokens.length, read))
        .or(() -> check.differ("decoding", atOnce, check.decoded(read)))
        .or(check::masses);
  }

  private Optional<String> masses() {
    int layers = config.layers() / 2;
    List<KvSegment> read = read(layers);
    Probe probe = new Probe(new int[] {LAST - 2, LAST - 1}, IntStream.range(0, read.size()).toArray());
    float[] kept = pass(context, tokens.length, read, layers, true, probe).attention();
    float[] alone = pass(context, tokens.length, read, layers, false, probe).attention();
    return differ("the score of a last block", kept, alone);
  }

  private Optional<String> differ(String what, float[] expected, float[] actual) {
    double squares = 0;
    double difference = 0;
    for (int i = 0; i < expected.length; i++) {
      squares += (double) expected[i] * expected[i];
      difference += Math.pow((double) expected[i] - actual[i], 2);
    }
    double share = Math.sqrt(difference / squares);
    // Not a number is not below it either.
    return share <= limit ? Optional.empty()
        : Optional.of(String.format(Locale.ROOT, "%s differs by %.2f from reading at once", what, share));
  }

  private List<KvSegment> read(int layers) {
    List<KvSegment> segments = new ArrayList<>();
    int from = 0;
    for (int length : SEGMENTS) {
      segments.add(Objects.requireNonNull(pass(from, from + length, segments, layers, true, null).kv()));
      from += length;
    }
    return segments;
  }

  private float[] decoded(List<KvSegment> read) {
    List<KvSegment> segments = new ArrayList<>(read);
    for (int i = context; i < tokens.length - 1; i++) {
      segments.add(Objects.requireNonNull(pass(i, i + 1, segments, config.layers(), true, null).kv()));
    }
    return logits(tokens.length - 1, tokens.length, segments);
  }

  private float[] logits(int from, int to, List<KvSegment> segments) {
    Pass pass = new Pass(
        Arrays.copyOfRange(tokens, from, to), from, segments, config.layers(), false, Logits.LAST, null);
    return backend.run(List.of(pass)).getFirst().logits()[0];
  }

  private PassResult pass(
      int from, int to, List<KvSegment> segments, int layers, boolean keepKv, @Nullable Probe probe) {
    return backend.run(List.of(
        new Pass(Arrays.copyOfRange(tokens, from, to), from, segments, layers, keepKv, Logits.NONE, probe))).getFirst();
  }
}
