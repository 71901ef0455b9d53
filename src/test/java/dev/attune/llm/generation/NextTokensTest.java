package dev.attune.llm.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Comparator;
import java.util.Random;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class NextTokensTest {

  @Property(tries = 200)
  void tokensComeInTheOrderOfTheirProbability(
      @ForAll long seed, @ForAll @IntRange(min = 1, max = 700) int count,
      @ForAll @IntRange(min = 1, max = 40) int distinct) {
    Random random = new Random(seed);
    float[] logits = new float[count];
    for (int i = 0; i < count; i++) {
      // Few different ones: equal logits come by id.
      logits[i] = random.nextInt(distinct) - distinct / 2 + 0.5f;
    }
    int[] expected = IntStream.range(0, count).boxed()
        .sorted(Comparator.comparingDouble((Integer i) -> -logits[i]).thenComparing(i -> i)).mapToInt(i -> i).toArray();
    NextTokens next = new NextTokens(logits);
    assertThat(IntStream.generate(next::poll).limit(count).toArray()).isEqualTo(expected);
    assertThat(next.poll()).isEqualTo(-1);
    assertThat(next.poll()).isEqualTo(-1);
  }

  @Test
  void probabilitiesSumToOne() {
    Random random = new Random(3);
    for (int count : new int[] {1, 15, 17, 49_152}) {
      float[] logits = new float[count];
      for (int i = 0; i < count; i++) {
        logits[i] = (float) (40 + 4 * random.nextGaussian());
      }
      NextTokens next = new NextTokens(logits);
      double exact = Math.log(IntStream.range(0, count).mapToDouble(i -> Math.exp(logits[i])).sum());
      assertThat(next.logProbability(0)).isCloseTo(logits[0] - exact, within(1e-6));
    }
  }
}
