package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Descriptors with which the tensor memory accelerator reads tiles of a matrix. */
final class TensorMap {

  private static final int BYTES = 128;
  private static final int UINT8 = 0;
  private static final int UINT16 = 1;
  /** Bytes of a row of a tile. */
  static final int ROW_BYTES = 128;
  private static final int SWIZZLE_64B = 2;
  private static final int SWIZZLE_128B = 3;
  private static final int PROMOTION_L2_256B = 3;

  private TensorMap() {}

  /**
   * Describes tiles of {@code tileRows} rows of a row-major matrix of 16-bit numbers; what lies outside reads as zero.
   *
   * @param arena of the descriptor
   */
  static MemorySegment of(CudaDevice device, Arena arena, long matrix, long rows, int columns, int tileRows) {
    return of(device, arena, matrix, rows, columns, tileRows, 2);
  }

  /** As above, of numbers of {@code size} bytes, 1 or 2. */
  static MemorySegment of(
      CudaDevice device, Arena arena, long matrix, long rows, int columns, int tileRows, int size) {
    return of(device, arena, matrix, rows, columns, tileRows, size, ROW_BYTES);
  }

  /** As above, {@code rowBytes} of each row in a tile, 64 or 128, within which 16 bytes change places. */
  static MemorySegment of(
      CudaDevice device, Arena arena, long matrix, long rows, int columns, int tileRows, int size, int rowBytes) {
    MemorySegment map = arena.allocate(BYTES, 64);
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment dimensions = scratch.allocateFrom(JAVA_LONG, columns, rows);
      MemorySegment strides = scratch.allocateFrom(JAVA_LONG, (long) columns * size);
      MemorySegment box = scratch.allocateFrom(JAVA_INT, rowBytes / size, tileRows);
      MemorySegment steps = scratch.allocateFrom(JAVA_INT, 1, 1);
      int type = size == 1 ? UINT8 : UINT16;
      int swizzle = rowBytes == 64 ? SWIZZLE_64B : SWIZZLE_128B;
      device.check(device.driver.tensorMapEncodeTiled(map, type, 2, matrix, dimensions, strides, box, steps, 0,
          swizzle, PROMOTION_L2_256B, 0), "Describing a matrix of [%d, %d] in tiles of %d rows"
          .formatted(rows, columns, tileRows));
    }
    return map;
  }
}
