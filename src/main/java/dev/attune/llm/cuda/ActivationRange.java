package dev.attune.llm.cuda;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.ModelConfig;
import java.util.List;
import java.util.stream.IntStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Whether a model's activations fit into {@link Numbers}: those of one text are looked at before others are read, of
 * which nothing would say that they became the largest number.
 */
final class ActivationRange {

  private static final Logger log = LoggerFactory.getLogger(ActivationRange.class);
  /** More than kernels of few tokens take. */
  private static final int TOKENS = 256;
  /** By how much another text's may be larger. */
  private static final int ROOM = 2;

  private ActivationRange() {}

  /** A text of all kinds of tokens, through all layers. */
  static Pass text(ModelConfig config) {
    int[] tokens = IntStream.range(0, Math.min(TOKENS, config.context()))
        .map(i -> (int) ((7919L * i + 13) % config.vocabulary())).toArray();
    return new Pass(tokens, 0, List.of(), config.layers(), false, Logits.NONE, null);
  }

  /**
   * Refuses numbers that leave too little room.
   *
   * @param largest magnitude in the text
   * @throws NumberRangeException when twice as much is beyond the largest number
   */
  static void require(Numbers numbers, float largest) {
    log.debug("The largest activation of a text is {}, of at most {}", largest, numbers.largest);
    if (largest > numbers.largest / ROOM) {
      throw new NumberRangeException(
          "An activation of %g is near the largest number of %s, %g".formatted(largest, numbers, numbers.largest));
    }
  }
}
