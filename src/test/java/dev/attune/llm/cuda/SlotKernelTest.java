package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.kv.KvCodec;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Segments of chosen slots against plain code in double precision, on sizes that fill no tile; with the
 * tolerances of 16-bit operands and results and fp32 sums. Skipped, saying so, without a GPU.
 */
@ParameterizedClass
@EnumSource(Numbers.class)
@ExtendWith(GpuExtension.class)
class SlotKernelTest {

  private final Gpu gpu;

  SlotKernelTest(Numbers numbers, Gpu gpu) {
    this.gpu = gpu.in(numbers);
  }

  @ParameterizedTest
  @CsvSource({"64,3,37", "64,3,160", "128,2,1", "128,2,97"})
  void slotsAreGathered(int headSize, int kvHeads, int tokens) {
    ModelConfig config = TestShapes.llama(128, 3 * kvHeads, kvHeads, headSize, 128);
    Kernels kernels = gpu.kernels(config);
    Random random = new Random(tokens);
    KnownSegments known = new KnownSegments(gpu, kernels, config, random);
    SegmentEditor editor = new SegmentEditor(gpu.device, kernels, new SegmentMemory(gpu.device, 1 << 30));
    CudaKvSegment whole = known.whole(tokens);
    CudaKvSegment int8 = known.int8(known.whole(tokens));
    int[] some = IntStream.range(0, tokens).filter(i -> i % 3 == 0).toArray();
    checkSlots(editor.gather(List.of(whole), some, kernels.numbers.codec, 0, tokens), known.numbers(0), some);
    checkSlots(editor.gather(List.of(int8), some, kernels.numbers.codec, 0, tokens), known.numbers(1), some);
    CudaKvSegment kept = editor.gather(List.of(int8), some, KvCodec.INT8, 0, tokens);
    assertThat(kept.reduced()).isEqualTo(some.length < tokens);
    int[] all = IntStream.range(0, some.length).toArray();
    checkSlots(editor.gather(List.of(kept), all, kernels.numbers.codec, 0, tokens), known.numbers(1), some);
    int[] both = IntStream.range(0, 2 * tokens).filter(i -> i % 2 == 0 || i > tokens).toArray();
    CudaKvSegment joined = editor.gather(List.of(whole, int8), both, kernels.numbers.codec, 0, 2 * tokens);
    float[][] two = new float[known.numbers(0).length][];
    for (int b = 0; b < two.length; b++) {
      two[b] = Arrays.copyOf(known.numbers(0)[b], 2 * tokens * headSize);
      System.arraycopy(known.numbers(1)[b], 0, two[b], tokens * headSize, tokens * headSize);
    }
    checkSlots(joined, two, both);
  }

  private void checkSlots(CudaKvSegment segment, float[][] numbers, int[] slots) {
    CudaKvSegment.Shape shape = segment.shape;
    int d = shape.headSize();
    for (int b = 0; b < numbers.length; b++) {
      float[] actual = gpu.readNumbers(segment.address() + (numbers.length + b) * shape.keyBytes(), slots.length * d);
      for (int i = 0; i < slots.length; i++) {
        assertThat(Arrays.copyOfRange(actual, i * d, (i + 1) * d)).as("block %d, slot %d", b, slots[i])
            .isEqualTo(Arrays.copyOfRange(numbers[b], slots[i] * d, (slots[i] + 1) * d));
      }
    }
  }
}
