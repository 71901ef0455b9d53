package dev.attune.ranking;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class KeptTokensTest {

  @Property
  void keepsAsManyAsAskedEachOnce(
      @ForAll @IntRange(min = 1, max = 1024) int tokens, @ForAll @IntRange(max = 600) int start,
      @ForAll @IntRange(max = 600) int length, @ForAll @DoubleRange(min = 0.01, max = 1) double share) {
    int titleStart = Math.min(start, tokens);
    int titleEnd = Math.min(tokens, titleStart + length);
    int[] kept = KeptTokens.choose(tokens, titleStart, titleEnd, share);
    assertThat(kept).hasSize(Math.max(1, (int) Math.ceil(share * tokens))).isSorted().doesNotHaveDuplicates();
    assertThat(kept[0]).isNotNegative();
    assertThat(kept[kept.length - 1]).isLessThan(tokens);
  }

  @Test
  void keepsTheTitleAndSpreadsTheRest() {
    assertThat(KeptTokens.choose(160, 3, 7, 0.1))
        .contains(3, 4, 5, 6)
        .satisfies(kept -> assertThat(kept[15]).isGreaterThan(145))
        .satisfies(kept -> assertThat(kept[8] - kept[7]).isBetween(12, 14));
  }
}
