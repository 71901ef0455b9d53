package dev.attune.retrieval;

import java.nio.file.Path;

/** The real embedding model, loaded once for all tests of a run and unpacked once for all runs. */
final class SharedEmbedder {

  static final Embedder INSTANCE = new LazyEmbedder(() -> OnnxEmbedder.open(Path.of("target", "embedding"), 2));

  private SharedEmbedder() {}
}
