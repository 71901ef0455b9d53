package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.cuda.AheadCompiler.Layers;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.SynchronousQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The order of compiling and who waits for it; what compiles is the test, which takes as long as it likes. */
@Timeout(60)
class AheadCompilerTest {

  private final LinkedBlockingQueue<Layers> begun = new LinkedBlockingQueue<>();
  private final SynchronousQueue<Boolean> allowed = new SynchronousQueue<>();

  private void compile(Layers layers) {
    begun.add(layers);
    try {
      if (!allowed.take()) {
        throw new CudaException("It does not compile");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Test
  void severalLastBlocksDoNotWaitAndTheirKernelIsNext() throws InterruptedException {
    try (AheadCompiler compiler = new AheadCompiler(TestShapes.llama(576, 9, 3, 64, 1536), this::compile)) {
      assertThat(begun.take()).isEqualTo(new Layers(6, false, 1));
      // It is at work: this comes back all the same.
      assertThat(compiler.together(4, true)).isFalse();
      allowed.put(true);
      assertThat(begun.take()).isEqualTo(new Layers(4, true, FusedLayers.MOST));
      assertThat(compiler.together(4, true)).isFalse();
      allowed.put(true);
      assertThat(begun.take()).isEqualTo(new Layers(6, true, 1));
      assertThat(compiler.together(4, true)).isTrue();
      assertThat(compiler.together(4, false)).isFalse();
      allowed.put(true);
      assertThat(begun.take()).isEqualTo(new Layers(4, false, FusedLayers.MOST));
      // One that does not compile is not tried again, and the others are.
      allowed.put(false);
      for (int i = 0; i < 16; i++) {
        assertThat(begun.take()).isNotEqualTo(new Layers(4, false, FusedLayers.MOST));
        allowed.put(true);
      }
      assertThat(compiler.together(4, false)).isFalse();
      assertThat(compiler.together(4, true)).isTrue();
    }
    assertThat(begun).isEmpty();
  }

  @Test
  void anEndWaitsForTheKernelAtWorkAlone() throws InterruptedException {
    AheadCompiler compiler = new AheadCompiler(TestShapes.llama(576, 9, 3, 64, 1536), this::compile);
    begun.take();
    Thread ending = Thread.ofPlatform().start(compiler::close);
    ending.join(50);
    assertThat(ending.isAlive()).isTrue();
    allowed.put(true);
    ending.join();
    assertThat(begun).isEmpty();
  }

  @Test
  void aModelWithoutThatKernelNeedsNone() {
    new AheadCompiler(TestShapes.llama(4096, 32, 8, 128, 14336), this::compile).close();
    assertThat(begun).isEmpty();
  }
}
