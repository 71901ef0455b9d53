package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Compiles, one after the other and beside requests, the kernels of last blocks of every length: the first request of
 * each length would wait seconds for its own. Those for one last block come first, as a request needs its; several can
 * go one by one until theirs is there. A start that finds them in the {@link KernelCache} is done at once.
 */
final class AheadCompiler implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(AheadCompiler.class);
  /** Lengths of last blocks, in tiles of eight tokens, usual ones first; see {@link SkinnyProducts#tokenTiles}. */
  private static final int[] TILES = {6, 4, 8, 2, 1};

  /**
   * What {@link Kernels#layers} takes.
   *
   * @param most last blocks that go through the layers together
   */
  record Layers(int tokenTiles, boolean int8, int most) {}

  private final Consumer<Layers> compiler;
  private final Thread thread;
  // Both guarded by this.
  private final LinkedHashSet<Layers> left = new LinkedHashSet<>();
  private final Set<Layers> compiled = new HashSet<>();

  /**
   * Starts.
   *
   * @param compiler compiles a kernel, or finds it
   */
  AheadCompiler(ModelConfig config, Consumer<Layers> compiler) {
    this.compiler = compiler;
    if (FusedLayers.fits(config)) {
      for (int most : new int[] {1, FusedLayers.MOST}) {
        for (int tiles : TILES) {
          left.add(new Layers(tiles, false, most));
          left.add(new Layers(tiles, true, most));
        }
      }
    }
    thread = new Thread(null, this::compile, "attune-llm-kernels", Nvrtc.STACK_BYTES);
    thread.setDaemon(true);
    thread.start();
  }

  /**
   * Whether the kernel for several last blocks is there, as {@link PassBatches.Together}; otherwise it is compiled
   * next.
   */
  synchronized boolean together(int tokenTiles, boolean int8) {
    Layers several = new Layers(tokenTiles, int8, FusedLayers.MOST);
    if (left.contains(several)) {
      left.addFirst(several);
    }
    return compiled.contains(several);
  }

  private void compile() {
    for (Layers next = next(); next != null; next = next()) {
      try {
        compiler.accept(next);
        add(next);
      } catch (RuntimeException e) {
        // The request that needs one for a last block alone will say so; several go one by one.
        log.debug("A kernel cannot be compiled ahead", e);
      }
    }
  }

  private synchronized @Nullable Layers next() {
    return left.isEmpty() ? null : left.removeFirst();
  }

  private synchronized void add(Layers done) {
    compiled.add(done);
  }

  /** Ends with the kernel that is being compiled: the compiler must not be at work when the process ends. */
  @Override
  public void close() {
    synchronized (this) {
      left.clear();
    }
    ThreadEnd.await(List.of(thread));
  }
}
