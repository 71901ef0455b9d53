package dev.attune.retrieval;

import java.util.List;

/** Turns text into unit vectors whose dot product is their similarity. Thread-safe. */
public interface Embedder {

  /** Length of a vector. */
  int dimension();

  /** Returns one unit vector per text; text beyond the model's window is cut. */
  List<float[]> embed(List<String> texts);
}
