package dev.attune.retrieval;

import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Loads the embedding model when it is first needed, so that a machine that cannot load it still searches by words.
 */
final class LazyEmbedder implements Embedder, AutoCloseable {

  private static final long RETRY_NANOS = 60_000_000_000L;

  private final Supplier<OnnxEmbedder> loader;
  private @Nullable OnnxEmbedder loaded;
  private @Nullable IllegalStateException failure;
  private long failedAt;

  LazyEmbedder(Supplier<OnnxEmbedder> loader) {
    this.loader = loader;
  }

  @Override
  public int dimension() {
    return OnnxEmbedder.DIMENSION;
  }

  /**
   * Embeds texts.
   *
   * @throws IllegalStateException when the model cannot be loaded; loading is tried again after a minute
   */
  @Override
  public List<float[]> embed(List<String> texts) {
    return loaded().embed(texts);
  }

  private synchronized OnnxEmbedder loaded() {
    if (loaded != null) {
      return loaded;
    }
    if (failure != null && System.nanoTime() - failedAt < RETRY_NANOS) {
      throw new IllegalStateException(failure.getMessage(), failure);
    }
    try {
      OnnxEmbedder embedder = loader.get();
      loaded = embedder;
      failure = null;
      return embedder;
    } catch (IllegalStateException e) {
      failure = e;
      failedAt = System.nanoTime();
      throw e;
    }
  }

  @Override
  public synchronized void close() {
    if (loaded != null) {
      loaded.close();
    }
  }
}
