package dev.attune.llm.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import dev.attune.llm.KvSegment;
import dev.attune.llm.kv.KvCodec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Keys and values in native memory, behind a header, so that the memory as it is can be written to a file and mapped
 * again. Freed when unreachable.
 *
 * <p>Image, native byte order:
 *
 * <pre>
 * 0 magic "ATKV"   4 version 1     8 codec ordinal   12 KV heads      16 head size   20 tokens
 * 24 key layers    28 value layers 32 first position 36 zero          40 content id  48 zero   (64 bytes)
 * then for each key layer: keys [KV head][token][head size], and if it is a value layer: values, likewise
 * </pre>
 */
final class CpuKvSegment implements KvSegment {

  private static final int MAGIC = 0x564b5441;
  private static final int VERSION = 1;
  static final int HEADER = 64;
  private static final int ALIGNMENT = 64;

  /**
   * What the header says.
   *
   * @param layers layers with keys
   * @param valueLayers layers with values, {@code layers} or one less
   */
  record Shape(KvCodec codec, int kvHeads, int headSize, int tokens, int layers, int valueLayers, int firstPosition) {

    /** Bytes of one head's keys, or values, in one layer. */
    long headBytes() {
      return (long) tokens * headSize * codec.bytes();
    }

    long imageBytes() {
      return HEADER + ((long) layers + valueLayers) * kvHeads * headBytes();
    }
  }

  final Shape shape;
  final MemorySegment image;
  private final long contentId;

  private CpuKvSegment(Shape shape, long contentId, MemorySegment image) {
    this.shape = shape;
    this.contentId = contentId;
    this.image = image;
  }

  static CpuKvSegment allocate(Shape shape, long contentId) {
    MemorySegment image = Arena.ofAuto().allocate(shape.imageBytes(), ALIGNMENT);
    image.set(JAVA_INT_UNALIGNED, 0, MAGIC);
    image.set(JAVA_INT_UNALIGNED, 4, VERSION);
    image.set(JAVA_INT_UNALIGNED, 8, shape.codec.ordinal());
    image.set(JAVA_INT_UNALIGNED, 12, shape.kvHeads);
    image.set(JAVA_INT_UNALIGNED, 16, shape.headSize);
    image.set(JAVA_INT_UNALIGNED, 20, shape.tokens);
    image.set(JAVA_INT_UNALIGNED, 24, shape.layers);
    image.set(JAVA_INT_UNALIGNED, 28, shape.valueLayers);
    image.set(JAVA_INT_UNALIGNED, 32, shape.firstPosition);
    image.set(JAVA_LONG_UNALIGNED, 40, contentId);
    return new CpuKvSegment(shape, contentId, image);
  }

  static CpuKvSegment restore(MemorySegment image) {
    if (image.byteSize() < HEADER || image.get(JAVA_INT_UNALIGNED, 0) != MAGIC
        || image.get(JAVA_INT_UNALIGNED, 4) != VERSION) {
      throw new IllegalArgumentException("Not a KV image of version " + VERSION);
    }
    int codec = image.get(JAVA_INT_UNALIGNED, 8);
    if (codec < 0 || codec >= KvCodec.values().length) {
      throw new IllegalArgumentException("KV image has unknown codec " + codec);
    }
    Shape shape = new Shape(
        KvCodec.values()[codec],
        image.get(JAVA_INT_UNALIGNED, 12),
        image.get(JAVA_INT_UNALIGNED, 16),
        image.get(JAVA_INT_UNALIGNED, 20),
        image.get(JAVA_INT_UNALIGNED, 24),
        image.get(JAVA_INT_UNALIGNED, 28),
        image.get(JAVA_INT_UNALIGNED, 32));
    if (shape.tokens < 1 || shape.layers < 0 || shape.valueLayers < 0 || shape.layers - shape.valueLayers > 1
        || shape.layers < shape.valueLayers || shape.firstPosition < 0 || image.byteSize() < shape.imageBytes()) {
      throw new IllegalArgumentException("KV image of %d bytes is damaged: %s".formatted(image.byteSize(), shape));
    }
    return new CpuKvSegment(shape, image.get(JAVA_LONG_UNALIGNED, 40), image);
  }

  static CpuKvSegment concat(List<CpuKvSegment> parts, long contentId) {
    Shape first = parts.getFirst().shape;
    int tokens = 0;
    for (CpuKvSegment part : parts) {
      Shape s = part.shape;
      if (s.firstPosition != first.firstPosition + tokens) {
        throw new IllegalArgumentException("Segments do not follow each other: position %d after %d"
            .formatted(s.firstPosition, first.firstPosition + tokens - 1));
      }
      if (s.layers != first.layers || s.valueLayers != first.valueLayers || s.codec != first.codec) {
        throw new IllegalArgumentException("Segments differ in layers or codec: " + s + " and " + first);
      }
      tokens += s.tokens;
    }
    CpuKvSegment whole = allocate(
        new Shape(first.codec, first.kvHeads, first.headSize, tokens, first.layers, first.valueLayers,
            first.firstPosition),
        contentId);
    int blocks = (first.layers + first.valueLayers) * first.kvHeads;
    long target = HEADER;
    for (int block = 0; block < blocks; block++) {
      for (CpuKvSegment part : parts) {
        long bytes = part.shape.headBytes();
        MemorySegment.copy(part.image, HEADER + block * bytes, whole.image, target, bytes);
        target += bytes;
      }
    }
    return whole;
  }

  /** Stores rows of one head's keys. */
  void putKeys(int layer, int head, int token, float[] rows, int offset, int count) {
    put(keys(layer, head), token, rows, offset, count);
  }

  void putValues(int layer, int head, int token, float[] rows, int offset, int count) {
    put(values(layer, head), token, rows, offset, count);
  }

  /** Reads {@code count} rows of one head's keys, {@code [count][headSize]}, from token {@code token} on. */
  void getKeys(int layer, int head, int token, float[] rows, int count) {
    get(keys(layer, head), token, rows, count);
  }

  void getValues(int layer, int head, int token, float[] rows, int count) {
    get(values(layer, head), token, rows, count);
  }

  private long keys(int layer, int head) {
    return HEADER + (2L * layer * shape.kvHeads + head) * shape.headBytes();
  }

  private long values(int layer, int head) {
    return HEADER + ((2L * layer + 1) * shape.kvHeads + head) * shape.headBytes();
  }

  private void put(long block, int token, float[] rows, int offset, int count) {
    int numbers = count * shape.headSize;
    long at = block + (long) token * shape.headSize * shape.codec.bytes();
    switch (shape.codec) {
      case F32 -> MemorySegment.copy(rows, offset, image, JAVA_FLOAT_UNALIGNED, at, numbers);
      case BF16 -> Lanes.toBf16(rows, offset, image, at, numbers);
    }
  }

  private void get(long block, int token, float[] rows, int count) {
    int numbers = count * shape.headSize;
    long at = block + (long) token * shape.headSize * shape.codec.bytes();
    switch (shape.codec) {
      case F32 -> MemorySegment.copy(image, JAVA_FLOAT_UNALIGNED, at, rows, 0, numbers);
      case BF16 -> Lanes.fromBf16(image, at, rows, 0, numbers);
    }
  }

  @Override
  public int tokens() {
    return shape.tokens;
  }

  @Override
  public int layers() {
    return shape.layers;
  }

  @Override
  public int valueLayers() {
    return shape.valueLayers;
  }

  @Override
  public int firstPosition() {
    return shape.firstPosition;
  }

  @Override
  public long bytes() {
    return shape.imageBytes();
  }

  @Override
  public long contentId() {
    return contentId;
  }
}
