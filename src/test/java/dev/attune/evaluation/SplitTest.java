package dev.attune.evaluation;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class SplitTest {

  @Test
  void partsAreDisjointAndATenthBelongsToNone() {
    List<String> ids = IntStream.range(0, 20_000).mapToObj(i -> "qid:" + i).toList();
    assertThat(ids).noneMatch(id -> Split.TRAIN.holds(id) && Split.VALIDATION.holds(id)).allMatch(Split.WHOLE::holds);
    assertThat(ids.stream().filter(Split.TRAIN::holds).count()).isBetween(15_700L, 16_300L);
    assertThat(ids.stream().filter(Split.VALIDATION::holds).count()).isBetween(1_800L, 2_200L);
  }

  /** The training scripts (prepare.py) split by {@code zlib.crc32(id) % 10}, which gives 4, 8 and 9 for these. */
  @Test
  void isThatOfTheTrainingScripts() {
    assertThat(Split.TRAIN.holds("qid:0")).isTrue();
    assertThat(Split.VALIDATION.holds("qid:1")).isTrue();
    assertThat(Split.TRAIN.holds("qid:5") || Split.VALIDATION.holds("qid:5")).isFalse();
  }
}
