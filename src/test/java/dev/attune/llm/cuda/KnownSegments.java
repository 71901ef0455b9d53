package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.kv.KvCodec;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Segments on the GPU whose numbers are known. */
final class KnownSegments {

  private final Gpu gpu;
  private final Kernels kernels;
  private final ModelConfig config;
  private final Random random;
  /** {@code [2 * kvHeads][tokens * headSize]} of each segment. */
  private final List<float[][]> all = new ArrayList<>();

  KnownSegments(Gpu gpu, Kernels kernels, ModelConfig config, Random random) {
    this.gpu = gpu;
    this.kernels = kernels;
    this.config = config;
    this.random = random;
  }

  /** Blocks of keys, then of values, of the segment that was made as number {@code index}. */
  float[][] numbers(int index) {
    return all.get(index);
  }

  /** A segment of two layers with random numbers in the second. */
  CudaKvSegment whole(int tokens) {
    CudaKvSegment.Shape shape =
        CudaKvSegment.Shape.whole(kernels.numbers.codec, config.kvHeads(), config.headSize(), tokens, 2, 2, 0);
    long address = gpu.poisoned(shape.bytes());
    float[][] blocks = new float[2 * config.kvHeads()][];
    for (int b = 0; b < blocks.length; b++) {
      blocks[b] = gpu.random(random, tokens * config.headSize(), 1);
      gpu.device.copy(address + (blocks.length + b) * shape.keyBytes(), gpu.numbers(blocks[b]), shape.keyBytes());
    }
    all.add(blocks);
    return new CudaKvSegment(shape, address, all.size());
  }

  /** The last segment in int8; its numbers become those that int8 stands for, and are checked against the device's. */
  CudaKvSegment int8(CudaKvSegment whole) {
    return int8(whole, false);
  }

  /**
   * Likewise.
   *
   * @param roundedScales whether its numbers become what attention of many rows makes of int8: codes times scales that
   *     were rounded to 16 bits, rounded once
   */
  CudaKvSegment int8(CudaKvSegment whole, boolean roundedScales) {
    float[][] numbers = all.getLast();
    CudaKvSegment.Shape shape = whole.shape.in(KvCodec.INT8);
    long address = gpu.poisoned(shape.bytes());
    CudaKvSegment coded = new CudaKvSegment(shape, address, whole.contentId());
    kernels.quantise.launch(
        shape.blocks(), 1, 256, whole.address(), coded.reference(), shape.slots(), shape.kvHeads(), shape.headSize());
    int d = shape.headSize();
    long at = address + shape.kvHeads() * (shape.keyBytes() + shape.valueBytes());
    for (int b = 0; b < numbers.length; b++) {
      boolean value = b >= shape.kvHeads();
      int scales = value ? (shape.slots() + 3) / 4 * 4 : d;
      float[] scale = gpu.readFloats(at, scales);
      byte[] stored = gpu.read(at + 4L * scales, (long) shape.slots() * d);
      for (int i = 0; i < stored.length; i++) {
        float largest = 0;
        for (int j = 0; j < (value ? d : shape.slots()); j++) {
          largest = Math.max(largest, Math.abs(numbers[b][value ? i / d * d + j : j * d + i % d]));
        }
        float expected = largest / 127;
        int number = value ? i / d : i % d;
        assertThat(scale[number]).as("scale %d of block %d", number, b).isEqualTo(expected);
        assertThat((int) stored[i]).isEqualTo((int) Math.rint(numbers[b][i] * (expected > 0 ? 1 / expected : 0)));
        // Once the last of a channel has been looked at, nobody needs it any more.
        if (value && i % d == d - 1) {
          float by = roundedScales ? gpu.round(expected) : expected;
          for (int j = i - d + 1; j <= i; j++) {
            numbers[b][j] = gpu.round(stored[j] * by);
          }
        }
      }
      for (int i = 0; !value && i < stored.length; i++) {
        numbers[b][i] = gpu.round(stored[i] * (roundedScales ? gpu.round(scale[i % d]) : scale[i % d]));
      }
      at += value ? shape.valueBytes() : shape.keyBytes();
    }
    return coded;
  }
}
