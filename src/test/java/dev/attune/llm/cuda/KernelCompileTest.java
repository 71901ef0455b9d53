package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.ModelConfig;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Kernels compile where the compiler is installed, with or without a GPU; skipped, saying so, where it is not. */
class KernelCompileTest {

  /** Registers that do not fit go to memory: some in an epilogue do no harm, many in a loop do. */
  private static final int SPILLED_BYTES = 512;

  /** What a block may have. */
  private static final int MOST_SHARED_BYTES = 227 << 10;

  private static final Pattern SHARED = Pattern.compile("(\\d+) bytes smem");

  private static final Pattern SPILLS = Pattern.compile("(\\d+) bytes spill stores");

  static Nvrtc compiler() {
    try {
      return new Nvrtc(null);
    } catch (CudaException e) {
      Assumptions.abort("No compiler for kernels: " + e.getMessage());
      throw e;
    }
  }

  private static Numbers numbers;

  @ParameterizedTest
  @EnumSource(Numbers.class)
  void allKernelsCompileWithoutSpilling(Numbers type) {
    Nvrtc compiler = compiler();
    numbers = type;
    for (String resource : List.of("elementwise.cu", "attention.cu", "probe.cu")) {
      check(compiler, resource);
    }
    ModelConfig small = TestShapes.llama(576, 9, 3, 64, 1536);
    for (int most : new int[] {1, FusedLayers.MOST}) {
      for (boolean int8 : new boolean[] {false, true}) {
        check(compiler, Kernels.LAYERS, Kernels.layersOptions(small, 6, int8, most));
      }
    }
    for (int headSize : new int[] {64, 128}) {
      check(compiler, "retain.cu", "-DHEAD_SIZE=" + headSize);
      for (boolean documents : new boolean[] {false, true}) {
        check(compiler, "wide.cu", Kernels.wideOptions(headSize, documents));
      }
      for (int queryHeads : new int[] {1, 2, 3, 4}) {
        for (int blocks : new int[] {1, 8}) {
          check(compiler, "ragged.cu", "-DHEAD_SIZE=" + headSize, "-DHEADS=" + 3 * queryHeads, "-DKV_HEADS=3",
              "-DPER=" + queryHeads, "-DCLUSTER=" + blocks);
        }
      }
    }
    for (boolean fp8 : new boolean[] {false, true}) {
      for (int inputs : new int[] {576, 4096}) {
        for (int outputs : new int[] {192, 256}) {
          Kernels.GemmShape shape = Kernels.GemmShape.of(outputs, inputs, fp8);
          check(compiler, "gemm.cu", "-DFP8=" + (fp8 ? 1 : 0), "-DOUTPUTS=" + outputs, "-DSTAGES=" + shape.stages(),
              "-DKEPT=" + shape.kept());
        }
      }
    }
    for (Kernels.Epilogue epilogue : Kernels.Epilogue.values()) {
      check(compiler, "skinny.cu", "-DEPILOGUE=" + epilogue, "-DTOKEN_TILES=6", "-DOUTPUT_TILES=1", "-DOUTPUT_WARPS=1",
          "-DINPUT_WARPS=9", "-DAHEAD=2", "-DAHEAD_X=2", "-DINPUTS=576", "-DSPLITS=1",
          "-DHEAD_SIZE=64");
    }
    ModelConfig large = TestShapes.llama(4096, 32, 8, 128, 14336);
    for (int tokens : new int[] {16, 32, 48, 64}) {
      for (boolean fp8 : new boolean[] {false, true}) {
        List<String> options = ProductChain.options(large, fp8, tokens, 132);
        check(compiler, "chain.cu", options);
        Matcher fixed = SHARED.matcher(compiler.compile("chain.cu", "sm_90a", numbers, options).log());
        assertThat(fixed.find()).isTrue();
        assertThat(Integer.parseInt(fixed.group(1)) + ProductChain.SHARED_BYTES).isLessThanOrEqualTo(MOST_SHARED_BYTES);
      }
    }
  }

  private static void check(Nvrtc compiler, String resource, String... options) {
    check(compiler, resource, List.of(options));
  }

  private static void check(Nvrtc compiler, String resource, List<String> options) {
    Nvrtc.Compiled compiled = compiler.compile(resource, "sm_90a", numbers, options);
    assertThat(compiled.code()).as(resource).isNotEmpty();
    Matcher spills = SPILLS.matcher(compiled.log());
    while (spills.find()) {
      assertThat(Integer.parseInt(spills.group(1))).as("%s: %s", resource, compiled.log())
          .isLessThanOrEqualTo(SPILLED_BYTES);
    }
    assertThat(compiled.log()).as("%s: products run one after the other", resource).doesNotContain("serialized");
  }
}
