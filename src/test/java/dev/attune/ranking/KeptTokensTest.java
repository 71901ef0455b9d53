package dev.attune.ranking;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.json.JsonMapper;

class KeptTokensTest {

  record Golden(int[] document, int titleStart, int titleEnd, double share, int[] kept) {}

  @Property
  void keepsAsManyAsAskedEachOnce(
      @ForAll @Size(min = 1, max = 600) int[] document, @ForAll @IntRange(max = 600) int start,
      @ForAll @IntRange(max = 600) int length, @ForAll @DoubleRange(min = 0.01, max = 1) double share) {
    int tokens = document.length;
    int titleStart = Math.min(start, tokens);
    int titleEnd = Math.min(tokens, titleStart + length);
    int[] kept = KeptTokens.choose(document, titleStart, titleEnd, share);
    assertThat(kept).hasSize(Math.max(1, (int) Math.ceil(share * tokens))).isSorted().doesNotHaveDuplicates();
    assertThat(kept[0]).isNotNegative();
    assertThat(kept[kept.length - 1]).isEqualTo(tokens - 1);
  }

  @Property
  void keepingMoreOfATextWithoutTitleLosesNothing(
      @ForAll @Size(min = 1, max = 300) @IntRange(max = 500) int[] document,
      @ForAll @DoubleRange(min = 0.01, max = 1) double share, @ForAll @DoubleRange(min = 0.01, max = 1) double other) {
    int[] fewer = KeptTokens.choose(document, 0, 0, Math.min(share, other));
    int[] more = KeptTokens.choose(document, 0, 0, Math.max(share, other));
    assertThat(more).contains(fewer);
  }

  /** Expected indices: {@code training/golden_kept_tokens.py}. */
  @Test
  void keepsWhatTheAdapterIsTrainedWith() throws IOException {
    try (InputStream in = KeptTokensTest.class.getResourceAsStream("/golden/kept-tokens.json")) {
      Golden[] cases = JsonMapper.shared().readValue(in, Golden[].class);
      assertThat(cases).hasSize(30);
      for (Golden golden : cases) {
        assertThat(KeptTokens.choose(golden.document, golden.titleStart, golden.titleEnd, golden.share))
            .as("%s of %s", golden.share, golden.document.length)
            .isEqualTo(golden.kept);
      }
    }
  }

  @Test
  void keepsTheEndsTheTitleAndRareTokens() {
    // Frame 0–2, title 3–5, its end 6, text, end 39.
    int[] document = IntStream.range(0, 40).map(i -> 100).toArray();
    document[5] = 7;
    document[10] = 900;
    document[20] = 900;
    document[30] = 800;
    document[1] = 999;
    document[39] = 1;
    assertThat(KeptTokens.choose(document, 3, 6, 0.15)).containsExactly(3, 4, 5, 6, 20, 39);
    assertThat(KeptTokens.choose(document, 3, 6, 0.2)).containsExactly(3, 4, 5, 6, 20, 30, 38, 39);
    assertThat(KeptTokens.choose(document, 3, 6, 0.02)).containsExactly(39);
  }
}
