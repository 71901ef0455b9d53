package dev.attune.llm.checkpoint;

import dev.attune.llm.ModelFileException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.function.Function;
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

  /**
   * Checks that no two tensors of a file share bytes.
   *
   * @param error the exception for a message, naming the file
   */
  static void requireDisjoint(
      Collection<? extends WeightTensor> tensors, Function<String, ModelFileException> error) {
    List<WeightTensor> order = new ArrayList<>(tensors);
    order.sort(Comparator.comparingLong(tensor -> tensor.data().address()));
    for (int i = 1; i < order.size(); i++) {
      WeightTensor before = order.get(i - 1);
      if (before.data().address() + before.data().byteSize() > order.get(i).data().address()) {
        throw error.apply("tensors '%s' and '%s' overlap".formatted(before.name(), order.get(i).name()));
      }
    }
  }
}
