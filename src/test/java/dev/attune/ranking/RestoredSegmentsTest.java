package dev.attune.ranking;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.KvSegment;
import dev.attune.llm.TestModel;
import dev.attune.ranking.DocumentKvStore.Key;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;

/** Real segments of the test model, over images in memory. */
class RestoredSegmentsTest {

  private final RestoredSegments restored = new RestoredSegments();
  private final InferenceBackend backend = TestModel.get().backend();
  private final MemorySegment image = image();

  private MemorySegment image() {
    KvSegment segment = Objects.requireNonNull(backend.run(List.of(new InferenceBackend.Pass(
        new int[] {5, 6, 7}, 0, List.of(), 1, true, InferenceBackend.Logits.NONE, null))).getFirst().kv());
    MemorySegment bytes = backend.image(segment);
    return Arena.ofAuto().allocate(bytes.byteSize(), 64).copyFrom(bytes);
  }

  private static Key key(String document) {
    return new Key("space", document, "hash");
  }

  @Test
  void anEntryHasOneSegmentAsLongAsItIsHeld() {
    KvSegment first = restored.over(key("a"), image, backend);
    assertThat(restored.over(key("a"), image, backend)).isSameAs(first);
    assertThat(restored.over(key("b"), image, backend)).isNotSameAs(first);
    assertThat(first.tokens()).isEqualTo(3);
  }

  @Test
  void anEntryThatMovedHasAnother() {
    KvSegment first = restored.over(key("a"), image, backend);
    MemorySegment moved = Arena.ofAuto().allocate(image.byteSize(), 64).copyFrom(image);
    KvSegment second = restored.over(key("a"), moved, backend);
    assertThat(second).isNotSameAs(first);
    assertThat(second.contentId()).isEqualTo(first.contentId());
    assertThat(restored.over(key("a"), moved, backend)).isSameAs(second);
  }

  /** The CPU reads entries where they are mapped: what was read takes memory of its own and is not kept. */
  @Test
  void theCpuReadsWhatWasStoredFromItsFile() {
    KvSegment read = backend.restore(image);
    restored.stored(key("a"), read, image, backend);
    assertThat(restored.size()).isZero();
    assertThat(restored.over(key("a"), image, backend)).isNotSameAs(read);
  }

  @Test
  void whatIsGoneIsLetGo() {
    KvSegment kept = restored.over(key("a"), image, backend);
    KvSegment gone = restored.over(key("b"), image, backend);
    restored.dropStale(key -> key.equals(key("a")) ? image.address() : 0, space -> backend);
    assertThat(restored.size()).isEqualTo(1);
    assertThat(restored.over(key("a"), image, backend)).isSameAs(kept);
    assertThat(restored.over(key("b"), image, backend)).isNotSameAs(gone);
  }
}
