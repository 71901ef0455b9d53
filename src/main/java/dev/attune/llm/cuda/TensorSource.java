package dev.attune.llm.cuda;

import dev.attune.llm.gguf.GgufFile;
import dev.attune.llm.gguf.GgufTensor;

/** Where the weights of a model come from; tensors have the names and the order of rows of a GGUF file. */
public interface TensorSource {

  boolean has(String name);

  /** Reader of one tensor of the given shape. */
  Rows tensor(String name, int rows, int columns);

  /** Rows of a tensor. */
  interface Rows {
    /** Writes one row of numbers to the start of {@code target}. */
    void read(int row, float[] target);
  }

  /** The tensors of a file, which must stay open while it is read. */
  static TensorSource of(GgufFile file) {
    return new TensorSource() {
      @Override
      public boolean has(String name) {
        return file.hasTensor(name);
      }

      @Override
      public Rows tensor(String name, int rows, int columns) {
        GgufTensor tensor = file.tensor(name, rows, columns);
        return (row, target) -> tensor.row(row, target, 0);
      }
    };
  }
}
