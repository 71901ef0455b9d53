package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.ModelConfig;
import dev.attune.llm.kv.KvCodec;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.Test;

class PassBatchesTest {

  private static final ModelConfig SMALL = TestShapes.llama(576, 9, 3, 64, 1536);
  private static final PassBatches.Together ALWAYS = (tokenTiles, int8) -> true;
  private static final ModelConfig LARGE = TestShapes.llama(4096, 32, 8, 128, 14336);

  @Test
  void lastBlocksOfASmallModelGoTogether() {
    assertThat(PassBatches.of(lastBlocks(48, 17, 33), SMALL, ALWAYS)).containsExactly(List.of(1, 2, 0));
    assertThat(PassBatches.of(lastBlocks(48, 17, 33), LARGE, ALWAYS))
        .containsExactly(List.of(1), List.of(2), List.of(0));
  }

  /** Up to five tokens of three heads a KV head are 16 rows, which attention takes as it takes a step of decoding. */
  @Test
  void whatIsTooShortForTilesOfLastBlocksIsAlone() {
    assertThat(PassBatches.of(lastBlocks(4, 48, 5, 48, 6), SMALL, ALWAYS))
        .containsExactly(List.of(0), List.of(2), List.of(4, 1, 3));
  }

  /** One that has no documents in int8 shares the kernel of one that has. */
  @Test
  void lastBlocksAreTogetherOnceTheirKernelIsThere() {
    List<Pass> passes = lastBlocks(14, 48, 31, 48, 16);
    passes.set(3, over(passes.get(3), KvCodec.INT8));
    List<String> asked = new ArrayList<>();
    assertThat(PassBatches.of(passes, SMALL, (tokenTiles, int8) -> {
      asked.add(tokenTiles + (int8 ? " int8" : ""));
      return tokenTiles == 2;
    })).containsExactly(List.of(0, 4), List.of(2), List.of(1), List.of(3));
    assertThat(asked).containsExactly("2", "4", "6", "6 int8");
    assertThat(PassBatches.of(passes, SMALL, (tokenTiles, int8) -> tokenTiles != 6 || int8))
        .containsExactly(List.of(0, 4, 2), List.of(1, 3));
  }

  @Property
  void eachPassIsInOneBatchThatItsEngineTakes(
      @ForAll @Size(max = 40) List<@IntRange(min = 1, max = 64) Integer> lengths) {
    List<Pass> passes = lastBlocks(lengths.stream().mapToInt(Integer::intValue).toArray());
    List<List<Integer>> batches = PassBatches.of(passes, SMALL, ALWAYS);
    assertThat(batches.stream().flatMap(List::stream))
        .containsExactlyInAnyOrderElementsOf(IntStream.range(0, passes.size()).boxed().toList());
    for (List<Integer> batch : batches) {
      assertThat(batch).hasSizeBetween(1, FusedLayers.MOST);
      assertThat(batch.size() == 1
          || batch.stream().allMatch(i -> Kernels.wide(passes.get(i).tokens().length, SMALL))).isTrue();
    }
  }

  private static Pass over(Pass pass, KvCodec codec) {
    CudaKvSegment.Shape shape = CudaKvSegment.Shape.whole(codec, SMALL.kvHeads(), SMALL.headSize(), 5, 2, 2, 0);
    return new Pass(pass.tokens(), pass.firstPosition(), List.of(new CudaKvSegment(shape, 0, 1)), pass.layers(),
        pass.keepKv(), pass.logits(), pass.probe());
  }

  private static List<Pass> lastBlocks(int... lengths) {
    List<Pass> passes = new ArrayList<>();
    for (int n : lengths) {
      passes.add(new Pass(
          new int[n], 0, List.of(), 2, false, Logits.NONE, new Probe(new int[] {n - 1}, new int[0])));
    }
    return passes;
  }
}
