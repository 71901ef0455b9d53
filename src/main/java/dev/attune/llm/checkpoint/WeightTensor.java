package dev.attune.llm.checkpoint;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** A matrix {@code [rows, columns]} of a model file, row by row; a vector has one row. Mapped, not copied. */
public interface WeightTensor {

  /** Name in the file. */
  String name();

  /** Element type, for people. */
  String typeName();

  int rows();

  int columns();

  /** Exactly the bytes of the tensor. */
  MemorySegment data();

  /** Writes one row as {@link #columns} floats. */
  void row(int row, float[] target, int targetOffset);

  /** The codes of a quantised matrix; null where the numbers are stored one by one. */
  default @Nullable GroupCodes codes() {
    return null;
  }
}
