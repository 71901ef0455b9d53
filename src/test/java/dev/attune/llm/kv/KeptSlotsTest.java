package dev.attune.llm.kv;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.InferenceBackend.Retained;
import dev.attune.llm.KvSegment;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What both backends make segments by. */
class KeptSlotsTest {

  /** A segment of one layer and one head, as far as it counts here. */
  private record Part(int tokens, int firstPosition, int slots, int biased) implements KvSegment {
    @Override
    public int layers() {
      return 1;
    }

    @Override
    public int valueLayers() {
      return 1;
    }

    @Override
    public int slots(int layer, int kvHead) {
      return slots;
    }

    @Override
    public int biased(int layer, int kvHead) {
      return biased;
    }

    @Override
    public boolean reduced() {
      return slots < tokens;
    }

    @Override
    public long bytes() {
      return 0;
    }

    @Override
    public long contentId() {
      return 0;
    }
  }

  private static final List<Part> PARTS = List.of(new Part(10, 5, 4, 2), new Part(3, 15, 3, 0), new Part(9, 18, 3, 1));

  private static Retained keeping(boolean compensated, int... slots) {
    return new Retained() {
      @Override
      public int[] slots(int layer, int kvHead, int available) {
        return slots;
      }

      @Override
      public boolean compensated(int layer, int kvHead) {
        return compensated;
      }
    };
  }

  private static KeptSlots.Head head(Retained retained) {
    return KeptSlots.of(PARTS, 1, retained).heads().getFirst();
  }

  @Test
  void slotsWithABiasComeFirst() {
    KeptSlots.Head head = head(keeping(false, 1, 3, 5, 7, 9));
    assertThat(head.slots()).containsExactly(1, 7, 3, 5, 9);
    assertThat(head.biased()).isEqualTo(2);
    assertThat(head.size()).isEqualTo(5);
    assertThat(head.allBiased()).isEqualTo(2);
  }

  @Test
  void oneMoreStandsForWhatIsDropped() {
    KeptSlots.Head head = head(keeping(true, 1, 3, 5, 7, 9));
    assertThat(head.dropped()).containsExactly(0, 2, 4, 6, 8);
    assertThat(head.size()).isEqualTo(6);
    assertThat(head.allBiased()).isEqualTo(3);
    assertThat(head(keeping(true, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)).compensated()).isFalse();
    assertThat(head(keeping(true)).slots()).isEmpty();
  }

  @Test
  void slotsMustAscendAndExist() {
    for (int[] wrong : new int[][] {{-1}, {10}, {3, 3}, {4, 2}}) {
      assertThatThrownBy(() -> head(keeping(false, wrong))).isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("must ascend below 10");
    }
  }

  @Test
  void whatHeadsHaveInCommon() {
    List<Part> plain = List.of(new Part(8, 0, 8, 0));
    KeptSlots same = KeptSlots.of(plain, 3, keeping(false, 1, 6));
    assertThat(same.common()).containsExactly(1, 6);
    assertThat(same.commonCount()).hasValue(2);
    KeptSlots others = KeptSlots.of(plain, 3, (layer, head, available) -> new int[] {head});
    assertThat(others.common()).isNull();
    assertThat(others.commonCount()).hasValue(1);
    assertThat(KeptSlots.of(plain, 3, keeping(true, 1, 6)).commonCount()).isEmpty();
    KeptSlots nothing = KeptSlots.of(plain, 2, keeping(false));
    assertThat(nothing.common()).isNull();
    assertThat(nothing.commonCount()).hasValue(0);
    assertThat(KeptSlots.of(plain, 2, (layer, head, available) -> new int[head]).commonCount()).isEmpty();
  }

  @Test
  void segmentsFollowEachOther() {
    assertThat(KeptSlots.tokens(PARTS)).isEqualTo(22);
    assertThatThrownBy(() -> KeptSlots.tokens(PARTS.reversed())).hasMessageContaining("position 15 after 26");
  }

  @Test
  void rangesAreOfWholeSegments() {
    assertThat(KeptSlots.range(PARTS.get(1), 1, 3)).containsExactly(1, 2);
    for (int[] wrong : new int[][] {{-1, 2}, {2, 2}, {1, 4}}) {
      assertThatThrownBy(() -> KeptSlots.range(PARTS.get(1), wrong[0], wrong[1]))
          .isInstanceOf(IllegalArgumentException.class);
    }
    assertThatThrownBy(() -> KeptSlots.range(PARTS.get(0), 0, 1)).hasMessageContaining("reduced");
  }
}
