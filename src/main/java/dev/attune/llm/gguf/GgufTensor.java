package dev.attune.llm.gguf;

import dev.attune.llm.checkpoint.GroupCodes;
import dev.attune.llm.checkpoint.WeightTensor;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * One tensor of a file. A matrix maps {@code columns} inputs to {@code rows} outputs and is stored row by row; GGUF
 * lists dimensions fastest first, so they arrive as {@code [columns, rows]}.
 *
 * @param data exactly the bytes of the tensor
 */
public record GgufTensor(String name, GgmlType type, int columns, int rows, MemorySegment data)
    implements WeightTensor {

  @Override
  public String typeName() {
    return type.name();
  }

  @Override
  public void row(int row, float[] target, int targetOffset) {
    type.dequantize(data, row * type.bytes(columns), target, targetOffset, columns);
  }

  @Override
  public @Nullable GroupCodes codes() {
    return type.groupSize == 0 ? null : new GroupCodes() {
      @Override
      public int groupSize() {
        return type.groupSize;
      }

      @Override
      public int bits() {
        return type.codeBits;
      }

      @Override
      public boolean hasMinima() {
        return type.hasMinima;
      }

      @Override
      public void row(int row, byte[] codes, float[] scales, float[] minima) {
        type.codes(data, row * type.bytes(columns), codes, scales, minima, columns);
      }
    };
  }

  @Override
  public String toString() {
    return name + " " + type + " [" + rows + ", " + columns + "]";
  }
}
