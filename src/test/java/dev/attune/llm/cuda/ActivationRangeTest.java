package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.ModelConfig;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class ActivationRangeTest {

  private static final ModelConfig SMALL = TestShapes.llama(30, 576, 9, 3, 64, 1536);

  @Test
  void activationsNearTheLargestNumberAreRefused() {
    assertThatCode(() -> ActivationRange.require(Numbers.FP16, 32752)).doesNotThrowAnyException();
    assertThatThrownBy(() -> ActivationRange.require(Numbers.FP16, 32768)).isInstanceOf(NumberRangeException.class)
        .hasMessage("An activation of 32768.0 is near the largest number of fp16, 65504.0");
    assertThatCode(() -> ActivationRange.require(Numbers.BF16, 1e30f)).doesNotThrowAnyException();
  }

  @Test
  void theTextIsReadByTheEngineThatLooks() {
    assertThat(PassBatches.way(ActivationRange.text(SMALL), SMALL)).isEqualTo(PassBatches.Way.PREFILL);
    assertThat(ActivationRange.text(SMALL).tokens()).hasSize(256).doesNotHaveDuplicates()
        .satisfies(tokens -> assertThat(IntStream.of(tokens)).allMatch(token -> token < SMALL.vocabulary()));
    assertThat(ActivationRange.text(SMALL).layers()).isEqualTo(30);
  }
}
