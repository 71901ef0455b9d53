package dev.attune.llm.kv;

import dev.attune.llm.LanguageModel;
import dev.attune.llm.ModelConfig;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * Finds retrieval heads as RazorAttention (arXiv 2407.15891, §3.3) does: random tokens, repeated. A head that looks at
 * the same token earlier echoes it, one that looks at the token after it would continue the earlier text (an induction
 * head). Random tokens leave nothing else to attend to for a reason.
 */
public final class HeadCalibration {

  private static final int REPEATS = 4;
  private static final long SEED = 17;
  /** Query rows measured per repeat. */
  private static final int ROWS = 64;

  private HeadCalibration() {}

  /**
   * Measures a model.
   *
   * @param length random tokens in one repeat; {@value #REPEATS} repeats must fit into the model's context
   * @param command to note in the result
   * @throws IllegalArgumentException when the text does not fit
   * @throws UnsupportedOperationException when the backend cannot show attention
   */
  public static HeadScores measure(LanguageModel model, int length, String command) {
    ModelConfig config = model.config();
    if (length < 8 || length > config.context() / REPEATS) {
      throw new IllegalArgumentException("Between 8 and %d tokens can be repeated %d times in a context of %d, not %d"
          .formatted(config.context() / REPEATS, REPEATS, config.context(), length));
    }
    SplittableRandom random = new SplittableRandom(SEED);
    int[] once = IntStream.generate(() -> ordinary(model, random)).limit(length).toArray();
    int[] tokens = IntStream.range(0, REPEATS * length).map(i -> once[i % length]).toArray();
    // The last token of all has no token after its earlier self to look at.
    int[] rows = IntStream.range(1, REPEATS)
        .flatMap(repeat -> random.ints(Math.min(ROWS, length - 1), 0, length - 1).map(i -> repeat * length + i))
        .sorted().distinct().toArray();
    double[][] echo = new double[config.layers()][config.heads()];
    double[][] induction = new double[config.layers()][config.heads()];
    model.backend().inspect(tokens, rows, (layer, head, row, p) -> {
      for (int earlier = row - length; earlier >= 0; earlier -= length) {
        echo[layer][head] += p[earlier];
        induction[layer][head] += p[earlier + 1];
      }
    });
    return new HeadScores(config.name(), model.fingerprint(), command, perKvHead(echo, rows.length, config),
        perKvHead(induction, rows.length, config));
  }

  private static int ordinary(LanguageModel model, SplittableRandom random) {
    int token;
    do {
      token = random.nextInt(model.config().vocabulary());
    } while (model.tokenizer().isControl(token));
    return token;
  }

  private static float[][] perKvHead(double[][] sums, int rows, ModelConfig config) {
    int group = config.heads() / config.kvHeads();
    float[][] scores = new float[config.layers()][config.kvHeads()];
    for (int layer = 0; layer < scores.length; layer++) {
      for (int head = 0; head < config.kvHeads(); head++) {
        double largest =
            Arrays.stream(sums[layer], head * group, (head + 1) * group).max().orElseThrow() / rows;
        scores[layer][head] = Math.round(largest * 10_000) / 10_000f;
      }
    }
    return scores;
  }
}
