package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.Probe;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Segments, refusals, cancellation and rounding. */
class CpuBackendTest {

  @TempDir private Path directory;

  private final InferenceBackend backend = TinyModel.shared().backend();
  private final int layers = TinyModel.shared().config().layers();

  private static int[] tokens(int count) {
    return new Random(count).ints(count, 3, 250).toArray();
  }

  private static KvSegment read(InferenceBackend backend, int count, int position, int layers) {
    Pass pass = new Pass(tokens(count), position, List.of(), layers, true, Logits.NONE, null);
    return Objects.requireNonNull(backend.run(List.of(pass)).getFirst().kv());
  }

  @Test
  void keptSegmentsHoldTheKeysOfTheNextLayer() {
    KvSegment below = read(backend, 5, 9, 1);
    assertThat(below.layers()).isEqualTo(2);
    assertThat(below.valueLayers()).isEqualTo(1);
    assertThat(below.tokens()).isEqualTo(5);
    assertThat(below.firstPosition()).isEqualTo(9);
    KvSegment top = read(backend, 5, 9, layers);
    assertThat(top.layers()).isEqualTo(layers);
    assertThat(top.valueLayers()).isEqualTo(layers);
    // 2 KV heads of 16 in f32, header of 64 bytes.
    assertThat(below.bytes()).isEqualTo(64 + 3 * 5 * 2 * 16 * 4);
    assertThat(top.bytes()).isEqualTo(64 + 2L * layers * 5 * 2 * 16 * 4);
  }

  @Test
  void imagesSurviveAFile() throws IOException {
    KvSegment segment = read(backend, 37, 3, layers);
    Path file = directory.resolve("segment");
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      assertThat(channel.write(backend.image(segment).asByteBuffer())).isEqualTo((int) segment.bytes());
    }
    try (Arena arena = Arena.ofShared();
        FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      MemorySegment mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
      KvSegment restored = backend.restore(mapped);
      assertThat(restored.contentId()).isEqualTo(segment.contentId());
      assertThat(logits(restored)).isDeepEqualTo(logits(segment));
    }
  }

  private float[][] logits(KvSegment context) {
    Pass pass = new Pass(tokens(4), 60, List.of(context), layers, false, Logits.ALL, null);
    return backend.run(List.of(pass)).getFirst().logits();
  }

  @Test
  void damagedImagesAreRefused() {
    byte[] image = backend.image(read(backend, 4, 0, 2)).toArray(ValueLayout.JAVA_BYTE);
    for (int length : new int[] {0, 10, 63, 64, image.length - 1}) {
      MemorySegment cut = MemorySegment.ofArray(Arrays.copyOf(image, length));
      assertThatThrownBy(() -> backend.restore(cut)).isInstanceOf(IllegalArgumentException.class);
    }
    for (int at = 0; at < 36; at += 4) {
      byte[] damaged = image.clone();
      damaged[at + 3] = (byte) 0x80;
      assertThatThrownBy(() -> backend.restore(MemorySegment.ofArray(damaged))).as("byte %d", at)
          .isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void concatenatedSegmentsMustFollowEachOther() {
    KvSegment first = read(backend, 3, 0, layers);
    KvSegment gap = read(backend, 3, 4, layers);
    assertThatThrownBy(() -> backend.concat(List.of(first, gap))).hasMessageContaining("position 4 after 2");
    assertThatThrownBy(() -> backend.concat(List.of(first, read(backend, 2, 3, 1)))).hasMessageContaining("layers");
    assertThatThrownBy(() -> backend.concat(List.of())).isInstanceOf(IllegalArgumentException.class);
    KvSegment whole = backend.concat(List.of(first, read(backend, 4, 3, layers)));
    assertThat(whole.tokens()).isEqualTo(7);
    assertThat(whole.firstPosition()).isZero();
  }

  @Test
  void passesOutOfRangeAreNamed() {
    KvSegment shallow = read(backend, 3, 0, 1);
    assertRefused(new Pass(new int[0], 0, List.of(), 1, false, Logits.NONE, null), "at least one token");
    assertRefused(new Pass(new int[] {1, 261}, 0, List.of(), 1, false, Logits.NONE, null), "Token 261 at index 1");
    assertRefused(new Pass(new int[] {-1}, 0, List.of(), 1, false, Logits.NONE, null), "Token -1");
    assertRefused(new Pass(tokens(3), 1022, List.of(), 1, false, Logits.NONE, null), "1022 to 1024");
    assertRefused(new Pass(tokens(3), -1, List.of(), 1, false, Logits.NONE, null), "-1 to 1");
    assertRefused(new Pass(tokens(3), 0, List.of(), 4, false, Logits.NONE, null), "4 layers of 3");
    assertRefused(new Pass(tokens(3), 0, List.of(), 2, false, Logits.LAST, null), "Logits need all 3 layers");
    assertRefused(new Pass(tokens(3), 5, List.of(shallow), 2, false, Logits.NONE, null), "values of 1 layers");
    assertRefused(probe(List.of(shallow), 2, new int[] {0}, new int[] {0}), "values of 1 layers");
    assertRefused(probe(List.of(shallow), 1, new int[] {3}, new int[] {0}), "rows [3] are not all below 3");
    assertRefused(probe(List.of(shallow), 1, new int[] {0}, new int[] {1}), "segment 1 is not one of 1");
    assertRefused(probe(List.of(shallow), 1, new int[] {}, new int[] {0}), "needs rows");
    assertRefused(probe(List.of(read(backend, 3, 0, 3)), 3, new int[] {0}, new int[] {0}), "no layer 3 to probe");
    try (TinyModel other = TinyModel.of(1, 2, 40, 4, 2, 8, 24, true, "full+f32", 1)) {
      assertRefused(new Pass(tokens(3), 5, List.of(read(other.backend(), 3, 0, 2)), 1, false, Logits.NONE, null),
          "not made by a backend of this model");
    }
  }

  private static Pass probe(List<KvSegment> context, int layers, int[] rows, int[] scored) {
    return new Pass(tokens(3), 9, context, layers, false, Logits.NONE, new Probe(rows, scored));
  }

  private void assertRefused(Pass pass, String message) {
    assertThatThrownBy(() -> backend.run(List.of(pass)))
        .isInstanceOf(IllegalArgumentException.class).hasMessageContaining(message);
  }

  /** bf16 keeps eight bits of a key, fp16 eleven: logits, whose spread is about 6 here, move by little. */
  @ParameterizedTest
  @CsvSource({"bf16,0.1", "fp16,0.0125"})
  void segmentsOfSixteenBitsAreCloseToExactOnes(String codec, float bound) {
    try (TinyModel exact = TinyModel.of(4, 3, 40, 6, 2, 16, 56, true, "full+f32", 1);
        TinyModel rounded = TinyModel.of(4, 3, 40, 6, 2, 16, 56, true, "full+" + codec, 1)) {
      float[] expected = lastLogits(exact.backend());
      float[] actual = lastLogits(rounded.backend());
      assertThat(actual).isNotEqualTo(expected).containsExactly(expected, within(bound));
      assertThat(read(rounded.backend(), 50, 0, 3).bytes() * 2).isEqualTo(read(exact.backend(), 50, 0, 3).bytes() + 64);
    }
  }

  private static float[] lastLogits(InferenceBackend backend) {
    KvSegment context = read(backend, 50, 0, 3);
    Pass pass = new Pass(tokens(2), 50, List.of(context), 3, false, Logits.LAST, null);
    return backend.run(List.of(pass)).getFirst().logits()[0];
  }

  @Test
  @Timeout(120)
  void interruptEndsALongPass() throws InterruptedException {
    LanguageModel model = TestModel.get();
    int[] many = new Random(1).ints(2000, 100, 40_000).toArray();
    Pass pass = new Pass(many, 0, List.of(), model.config().layers(), false, Logits.NONE, null);
    long before = model.backend().work().projectionFlops();
    AtomicReference<Throwable> thrown = new AtomicReference<>();
    Thread caller = Thread.ofVirtual().start(() -> {
      try {
        model.backend().run(List.of(pass));
      } catch (CancellationException e) {
        thrown.set(e);
      }
    });
    // Until the first products have begun.
    while (model.backend().work().projectionFlops() == before) {
      Thread.onSpinWait();
    }
    caller.interrupt();
    caller.join();
    assertThat(thrown.get()).isInstanceOf(CancellationException.class);
    // The backend is free again, and has not run all layers (3,538,944 weights each) to get there.
    assertThat(read(model.backend(), 3, 0, 1).tokens()).isEqualTo(3);
    long layersRun = (model.backend().work().projectionFlops() - before) / (2L * many.length * 3_538_944);
    assertThat(layersRun).isLessThan(model.config().layers() - 1);
  }

  @Test
  void manyCallersAtOnceGetTheirOwnAnswers() throws InterruptedException {
    float[][] expected = logits(read(backend, 20, 0, layers));
    Thread[] callers = new Thread[8];
    boolean[] right = new boolean[callers.length];
    for (int i = 0; i < callers.length; i++) {
      int caller = i;
      callers[i] = Thread.ofVirtual().start(
          () -> right[caller] = Arrays.deepEquals(logits(read(backend, 20, 0, layers)), expected));
    }
    for (Thread caller : callers) {
      caller.join();
    }
    assertThat(right).containsOnly(true);
  }
}
