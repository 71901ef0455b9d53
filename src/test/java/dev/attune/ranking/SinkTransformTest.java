package dev.attune.ranking;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class SinkTransformTest {

  /** Two heads over two documents of ten tokens; the first head's first token is a sink with half of all. */
  private static final float[] ATTENTION = new float[40];
  private static final int[] DOCUMENT_OF = IntStream.range(0, 20).map(i -> i / 10).toArray();

  static {
    Arrays.fill(ATTENTION, 0.05f);
    for (int i = 0; i < 20; i++) {
      // 9 x .02 beside the sink, 10 x .032 in the other document.
      ATTENTION[i] = i == 0 ? 0.5f : i < 10 ? 0.02f : 0.032f;
    }
  }

  @Test
  void whatASinkLosesGoesToTheOthersOfItsHead() {
    float[] masses = SinkTransform.CALIBRATED.masses(ATTENTION, DOCUMENT_OF);
    // The sink keeps .2; .3 is added to .5 of the others.
    double first = 0.2 + 0.18 * 1.6;
    assertThat(masses[0]).isCloseTo((float) ((first + 0.5) / 2), within(1e-6f));
    assertThat(masses[1]).isCloseTo((float) ((0.32 * 1.6 + 0.5) / 2), within(1e-6f));
  }

  @Test
  void aHeadThatLooksMostlyAtSinksStaysAsItIs() {
    float[] masses = SinkTransform.REDISTRIBUTED.masses(ATTENTION, DOCUMENT_OF);
    assertThat(masses[0]).isCloseTo((0.68f + 0.5f) / 2, within(1e-6f));
    assertThat(new SinkTransform(0.5, 0.4).masses(ATTENTION, DOCUMENT_OF)[0])
        .as("half of it on content is enough for this one").isLessThan(masses[0]);
  }

  @Property(tries = 200)
  void massesAreADistributionThatAPermutationPermutes(
      @ForAll long seed, @ForAll @IntRange(min = 1, max = 5) int heads,
      @ForAll @IntRange(min = 1, max = 7) int documents) {
    Random random = new Random(seed);
    int[] sizes = random.ints(documents, 1, 30).toArray();
    int tokens = Arrays.stream(sizes).sum();
    float[][][] drawn = new float[heads][documents][];
    for (int head = 0; head < heads; head++) {
      double[] raw = random.doubles(tokens).map(x -> Math.pow(x, 40)).toArray();
      double all = Arrays.stream(raw).sum();
      int at = 0;
      for (int d = 0; d < documents; d++) {
        drawn[head][d] = new float[sizes[d]];
        for (int i = 0; i < sizes[d]; i++) {
          drawn[head][d][i] = (float) (raw[at++] / all);
        }
      }
    }
    for (SinkTransform transform : new SinkTransform[] {SinkTransform.CALIBRATED, SinkTransform.REDISTRIBUTED}) {
      float[] masses = transform.masses(flat(drawn, false), documentOf(sizes, false));
      float[] reversed = transform.masses(flat(drawn, true), documentOf(sizes, true));
      double sum = 0;
      for (int d = 0; d < documents; d++) {
        assertThat(masses[d]).isGreaterThanOrEqualTo(0).isEqualTo(reversed[documents - 1 - d]);
        sum += masses[d];
      }
      assertThat(sum).isCloseTo(1, within(1e-4));
    }
  }

  private static float[] flat(float[][][] drawn, boolean backwards) {
    int size = Arrays.stream(drawn).mapToInt(head -> Arrays.stream(head).mapToInt(d -> d.length).sum()).sum();
    float[] flat = new float[size];
    int at = 0;
    for (float[][] head : drawn) {
      for (int d = 0; d < head.length; d++) {
        for (float value : head[backwards ? head.length - 1 - d : d]) {
          flat[at++] = value;
        }
      }
    }
    return flat;
  }

  private static int[] documentOf(int[] sizes, boolean backwards) {
    return IntStream.range(0, sizes.length)
        .flatMap(d -> IntStream.generate(() -> d).limit(sizes[backwards ? sizes.length - 1 - d : d])).toArray();
  }
}
