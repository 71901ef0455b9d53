package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.attune.llm.kv.KvCodec;
import java.lang.foreign.MemorySegment;

/**
 * Header of a segment's image, native byte order, before the numbers as they lie on the device:
 *
 * <pre>
 * 0 magic "ATKC"   4 version 3     8 KV heads   12 head size   16 tokens   20 key layers   24 value layers
 * 28 first position   32 content id   40 codec   44 slots, -1 when heads differ
 * 48 numbers   52 zero   (64 bytes)
 * </pre>
 *
 * Codec and numbers are those of {@link KvCodec} and {@link Numbers}. Where heads differ, the numbers begin with their
 * directory ({@link RaggedHeads}).
 */
final class SegmentImage {

  static final int HEADER = 64;
  private static final int MAGIC = 0x434b5441;
  private static final int VERSION = 3;

  private SegmentImage() {}

  static void write(MemorySegment image, CudaKvSegment segment, Numbers numbers) {
    CudaKvSegment.Shape shape = segment.shape;
    int[] header = {MAGIC, VERSION, shape.kvHeads(), shape.headSize(), shape.tokens(), shape.layers(),
        shape.valueLayers(), shape.firstPosition()};
    for (int i = 0; i < header.length; i++) {
      image.set(JAVA_INT_UNALIGNED, 4L * i, header[i]);
    }
    image.set(JAVA_LONG_UNALIGNED, 32, segment.contentId());
    image.set(JAVA_INT_UNALIGNED, 40, shape.codec().ordinal());
    image.set(JAVA_INT_UNALIGNED, 44, shape.slots());
    image.set(JAVA_INT_UNALIGNED, 48, numbers.ordinal());
  }

  /**
   * Shape that an image says it has.
   *
   * @throws IllegalArgumentException when it is not an image, of other numbers, or cut off
   */
  static CudaKvSegment.Shape shape(MemorySegment image, Numbers numbers) {
    if (image.byteSize() < HEADER || number(image, 0) != MAGIC || number(image, 1) != VERSION) {
      throw new IllegalArgumentException("Not a KV image of the CUDA backend, version " + VERSION);
    }
    if (number(image, 12) != numbers.ordinal()) {
      throw new IllegalArgumentException("KV image is of other numbers than " + numbers);
    }
    KvCodec codec = number(image, 10) == KvCodec.INT8.ordinal() ? KvCodec.INT8 : numbers.codec;
    CudaKvSegment.Shape shape = new CudaKvSegment.Shape(codec, number(image, 2), number(image, 3), number(image, 4),
        number(image, 11), number(image, 5), number(image, 6), number(image, 7));
    boolean plausible = codec.ordinal() == number(image, 10) && shape.kvHeads() >= 1 && shape.headSize() >= 1
        && shape.tokens() >= 1 && shape.valueLayers() >= 0 && shape.layers() >= shape.valueLayers()
        && shape.layers() - shape.valueLayers() <= 1 && shape.firstPosition() >= 0;
    if (plausible && shape.slots() == CudaKvSegment.Shape.RAGGED) {
      long heads = (long) shape.layers() * shape.kvHeads();
      RaggedHeads read = heads > image.byteSize() ? null : RaggedHeads.read(image.asSlice(HEADER), codec,
          shape.kvHeads(), shape.headSize(), shape.tokens(), (int) heads, shape.valueLayers());
      plausible = read != null;
      shape = new CudaKvSegment.Shape(codec, shape.kvHeads(), shape.headSize(), shape.tokens(), shape.slots(),
          shape.layers(), shape.valueLayers(), shape.firstPosition(), read);
    } else {
      plausible &= shape.slots() >= 1 && shape.slots() <= shape.tokens();
    }
    if (!plausible || image.byteSize() < HEADER + shape.bytes()) {
      throw new IllegalArgumentException("KV image of %d bytes is damaged: %s".formatted(image.byteSize(), shape));
    }
    return shape;
  }

  static long contentId(MemorySegment image) {
    return image.get(JAVA_LONG_UNALIGNED, 32);
  }

  private static int number(MemorySegment image, int index) {
    return image.get(JAVA_INT_UNALIGNED, 4L * index);
  }
}
