package dev.attune.llm.safetensors;

import dev.attune.llm.checkpoint.WeightTensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * One tensor of a file, seen as a matrix that maps {@code columns} inputs to {@code rows} outputs, row by row; a vector
 * has one row.
 *
 * @param shape as in the file
 * @param data exactly the bytes of the tensor
 */
public record SafetensorsTensor(
    String name, SafetensorsType type, long[] shape, int rows, int columns, MemorySegment data)
    implements WeightTensor {

  static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  @Override
  public String typeName() {
    return type.name();
  }

  @Override
  public void row(int row, float[] target, int targetOffset) {
    type.read(data, (long) row * columns * type.bytes, target, targetOffset, columns);
  }

  /** All numbers, {@code [rows * columns]}. */
  public float[] values() {
    float[] values = new float[Math.multiplyExact(rows, columns)];
    type.read(data, 0, values, 0, values.length);
    return values;
  }

  @Override
  public String toString() {
    return name + " " + type + " " + Arrays.toString(shape);
  }
}
