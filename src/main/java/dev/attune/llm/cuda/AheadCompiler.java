package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Compiles, one after the other and beside requests, the kernels of last blocks of every length: the first request of
 * each length would wait seconds for its own. A start that finds them in the {@link KernelCache} is done at once.
 */
final class AheadCompiler implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(AheadCompiler.class);
  /** Lengths of last blocks, in tiles of eight tokens, usual ones first; see {@link SkinnyProducts#tokenTiles}. */
  private static final int[] TILES = {6, 4, 8, 2, 1};

  private final Thread thread;
  private volatile boolean closed;

  AheadCompiler(Nvrtc compiler, String architecture, ModelConfig config, Numbers numbers) {
    thread = new Thread(
        null, () -> compile(compiler, architecture, config, numbers), "attune-llm-kernels", Nvrtc.STACK_BYTES);
    thread.setDaemon(true);
    thread.start();
  }

  private void compile(Nvrtc compiler, String architecture, ModelConfig config, Numbers numbers) {
    if (!FusedLayers.fits(config)) {
      return;
    }
    try {
      for (int most : new int[] {1, FusedLayers.MOST}) {
        for (int tiles : TILES) {
          for (boolean int8 : new boolean[] {false, true}) {
            if (closed) {
              return;
            }
            compiler.compile(Kernels.LAYERS, architecture, numbers, Kernels.layersOptions(config, tiles, int8, most));
          }
        }
      }
    } catch (CudaException e) {
      // The request that needs it will say so.
      log.debug("A kernel cannot be compiled ahead", e);
    }
  }

  /** Ends with the kernel that is being compiled: the compiler must not be at work when the process ends. */
  @Override
  public void close() {
    closed = true;
    ThreadEnd.await(List.of(thread));
  }
}
