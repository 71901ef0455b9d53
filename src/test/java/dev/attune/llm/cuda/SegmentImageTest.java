package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.kv.KvCodec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class SegmentImageTest {

  private static MemorySegment image(KvCodec codec, Numbers numbers) {
    CudaKvSegment.Shape shape = CudaKvSegment.Shape.whole(codec, 2, 64, 37, 3, 2, 5);
    MemorySegment image = Arena.ofAuto().allocate(SegmentImage.HEADER + shape.bytes(), 64);
    SegmentImage.write(image, new CudaKvSegment(shape, 0, 4711), numbers);
    return image;
  }

  @ParameterizedTest
  @EnumSource(Numbers.class)
  void saysWhatItIs(Numbers numbers) {
    for (KvCodec codec : new KvCodec[] {numbers.codec, KvCodec.INT8}) {
      MemorySegment image = image(codec, numbers);
      assertThat(SegmentImage.shape(image, numbers))
          .isEqualTo(CudaKvSegment.Shape.whole(codec, 2, 64, 37, 3, 2, 5));
      assertThat(SegmentImage.contentId(image)).isEqualTo(4711);
    }
  }

  @ParameterizedTest
  @EnumSource(Numbers.class)
  void otherNumbersAndOlderVersionsAreRefused(Numbers numbers) {
    MemorySegment image = image(numbers.codec, numbers);
    for (Numbers other : Numbers.values()) {
      if (other != numbers) {
        assertThatThrownBy(() -> SegmentImage.shape(image, other))
            .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("other numbers");
      }
    }
    image.set(ValueLayout.JAVA_INT, 4, 2);
    assertThatThrownBy(() -> SegmentImage.shape(image, numbers))
        .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("version 3");
  }

  /** Such were written when all numbers of 16 bits were called bf16. */
  @Test
  void fp16ThatIsCalledBf16IsRefused() {
    MemorySegment image = image(KvCodec.BF16, Numbers.FP16);
    assertThatThrownBy(() -> SegmentImage.shape(image, Numbers.FP16))
        .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("damaged");
  }
}
