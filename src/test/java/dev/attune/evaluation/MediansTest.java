package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.Test;

class MediansTest {

  @Test
  void worksAreTimedInTurns() throws Exception {
    List<String> calls = new ArrayList<>();
    List<Callable<?>> works = List.of(() -> calls.add("a"), () -> calls.add("b"));

    double[][] millis = Medians.inTurns(3, works);

    assertThat(calls).containsExactly("a", "b", "a", "b", "a", "b");
    assertThat(millis).hasDimensions(2, 3);
    assertThat(millis[0]).doesNotContain(0);
  }

  @Test
  void warmingUpRunsTheWorkAtLeastOnceAndUntilTheTimeHasPassed() throws Exception {
    List<Long> calls = new ArrayList<>();
    Medians.warmUp(Duration.ZERO, () -> calls.add(System.nanoTime()));
    assertThat(calls).hasSize(1);

    long start = System.nanoTime();
    Medians.warmUp(Duration.ofMillis(30), () -> calls.add(System.nanoTime()));
    assertThat(Duration.ofNanos(System.nanoTime() - start)).isGreaterThanOrEqualTo(Duration.ofMillis(30));
    assertThat(calls).hasSizeGreaterThan(2);
  }

  @Test
  void theMedianOfAnEvenNumberIsTheMeanOfTheMiddleTwo() {
    assertThat(Medians.median(new double[] {4, 1, 3, 2})).isEqualTo(2.5);
    assertThat(Medians.median(new double[] {5, 1, 3})).isEqualTo(3);
    assertThat(Medians.median(new double[0])).isNaN();
  }
}
