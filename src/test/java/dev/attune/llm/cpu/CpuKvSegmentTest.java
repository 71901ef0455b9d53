package dev.attune.llm.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.attune.llm.InferenceBackend.Retained;
import dev.attune.llm.kv.KvCodec;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is stored, in how many bytes, and what remains of it when slots are chosen. */
class CpuKvSegmentTest {

  private static final int SIZE = 24;
  private static final int HEADS = 2;
  private static final int LAYERS = 3;

  /** Random numbers whose channels have different spreads; layers and heads follow each other. */
  private static float[] rows(long seed, int tokens) {
    Random random = new Random(seed);
    float[] rows = new float[2 * LAYERS * HEADS * tokens * SIZE];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = (float) (random.nextGaussian() * Math.exp(i % SIZE % 5));
    }
    return rows;
  }

  private static CpuKvSegment segment(KvCodec codec, float[] rows, int tokens, int position) {
    CpuKvSegment segment = CpuKvSegment.allocate(
        new KvLayout(codec, HEADS, SIZE, tokens, LAYERS, LAYERS - 1, position, tokens), 1);
    for (int layer = 0; layer < LAYERS; layer++) {
      for (int head = 0; head < HEADS; head++) {
        segment.writeKeys(layer, head, rows, keys(layer, head, tokens), SIZE);
        if (layer < LAYERS - 1) {
          segment.writeValues(layer, head, rows, keys(layer, head, tokens) + rows.length / 2, SIZE);
        }
      }
    }
    return segment;
  }

  private static int keys(int layer, int head, int tokens) {
    return (layer * HEADS + head) * tokens * SIZE;
  }

  private static float[] keys(CpuKvSegment segment, int layer, int head) {
    float[] rows = new float[segment.slots(layer, head) * SIZE];
    segment.readKeys(layer, head, 0, rows, segment.slots(layer, head));
    if (segment.quantised() && rows.length > 0) {
      float[] scales = new float[SIZE];
      segment.readKeyScales(layer, head, scales);
      for (int i = 0; i < rows.length; i++) {
        rows[i] *= scales[i % SIZE];
      }
    }
    return rows;
  }

  private static float[] values(CpuKvSegment segment, int layer, int head) {
    int slots = segment.slots(layer, head);
    float[] rows = new float[slots * SIZE];
    segment.readValues(layer, head, 0, rows, slots);
    if (segment.quantised()) {
      float[] scales = new float[slots];
      segment.readValueScales(layer, head, 0, scales, slots);
      for (int i = 0; i < rows.length; i++) {
        rows[i] *= scales[i / SIZE];
      }
    }
    return rows;
  }

  @Property(tries = 60)
  void errorsOfCodecsAreBounded(
      @ForAll long seed, @ForAll @IntRange(min = 1, max = 70) int tokens, @ForAll KvCodec codec) {
    float[] rows = rows(seed, tokens);
    CpuKvSegment segment = segment(codec, rows, tokens, 0);
    for (int layer = 0; layer < LAYERS; layer++) {
      for (int head = 0; head < HEADS; head++) {
        int from = keys(layer, head, tokens);
        float[] exact = Arrays.copyOfRange(rows, from, from + tokens * SIZE);
        float[] read = keys(segment, layer, head);
        for (int i = 0; i < exact.length; i++) {
          float largest = 0;
          for (int t = 0; t < tokens; t++) {
            largest = Math.max(largest, Math.abs(exact[t * SIZE + i % SIZE]));
          }
          assertThat(read[i]).isCloseTo(exact[i], within(bound(codec, exact[i], largest)));
        }
        if (layer < LAYERS - 1) {
          from += rows.length / 2;
          exact = Arrays.copyOfRange(rows, from, from + tokens * SIZE);
          read = values(segment, layer, head);
          for (int i = 0; i < exact.length; i++) {
            float largest = 0;
            for (int d = 0; d < SIZE; d++) {
              largest = Math.max(largest, Math.abs(exact[i / SIZE * SIZE + d]));
            }
            assertThat(read[i]).isCloseTo(exact[i], within(bound(codec, exact[i], largest)));
          }
        }
      }
    }
  }

  /** Codecs in images are numbers that must not change, or what is on disk would be misread. */
  @ParameterizedTest
  @CsvSource({"0,F32", "1,BF16", "2,INT8", "3,FP16"})
  void imagesAreReadInTheCodecThatTheyWereWrittenIn(int number, KvCodec codec) {
    CpuKvSegment segment = segment(codec, rows(5, 20), 20, 0);
    assertThat(segment.image.get(ValueLayout.JAVA_INT_UNALIGNED, 8)).isEqualTo(number);
    CpuKvSegment restored = CpuKvSegment.restore(MemorySegment.ofArray(segment.image.toArray(ValueLayout.JAVA_BYTE)));
    assertThat(restored.layout.codec()).isEqualTo(codec);
    assertThat(keys(restored, 1, 1)).isEqualTo(keys(segment, 1, 1));
    // Of another version, or of a codec that came later.
    segment.image.set(ValueLayout.JAVA_INT_UNALIGNED, 8, 4);
    assertThatThrownBy(() -> CpuKvSegment.restore(segment.image)).hasMessageContaining("unknown codec 4");
    segment.image.set(ValueLayout.JAVA_INT_UNALIGNED, 4, 1);
    assertThatThrownBy(() -> CpuKvSegment.restore(segment.image)).hasMessageContaining("version 2");
  }

  private static float bound(KvCodec codec, float x, float largest) {
    return switch (codec) {
      case F32 -> 0f;
      case BF16 -> Math.abs(x) / 256;
      case FP16 -> Math.max(Math.abs(x) / 2048, 0x1p-25f);
      case INT8 -> largest / 127 * 0.5001f;
    };
  }

  @Property(tries = 40)
  void bytesAreThoseOfTheNumbers(@ForAll @IntRange(min = 1, max = 300) int tokens, @ForAll KvCodec codec) {
    CpuKvSegment segment = segment(codec, rows(1, tokens), tokens, 0);
    long numbers = (2L * LAYERS - 1) * HEADS * tokens * SIZE * codec.bytes();
    long scales = codec == KvCodec.INT8 ? 4L * HEADS * (LAYERS * SIZE + (LAYERS - 1) * tokens) : 0;
    assertThat(segment.bytes()).isEqualTo(64 + numbers + scales).isEqualTo(segment.image.byteSize());
  }

  /** Slots that stay keep their bits, also in int8, whatever else is dropped. */
  @Property(tries = 60)
  void keptSlotsKeepTheirNumbers(
      @ForAll long seed, @ForAll @IntRange(min = 2, max = 60) int tokens, @ForAll KvCodec codec,
      @ForAll boolean compensated) {
    CpuKvSegment whole = segment(codec, rows(seed, tokens), tokens, 5);
    Random random = new Random(seed);
    int[][] kept = new int[LAYERS * HEADS][];
    for (int i = 0; i < kept.length; i++) {
      kept[i] = IntStream.range(0, tokens).filter(t -> random.nextInt(3) == 0).toArray();
    }
    CpuKvSegment part = new SlotGather(List.of(whole), codec).gather(retained(kept, compensated));
    assertThat(part.tokens()).isEqualTo(tokens);
    assertThat(part.firstPosition()).isEqualTo(5);
    long bytes = 64 + 24L * LAYERS * HEADS;
    for (int layer = 0; layer < LAYERS; layer++) {
      for (int head = 0; head < HEADS; head++) {
        int[] slots = kept[layer * HEADS + head];
        int more = compensated && slots.length < tokens ? 1 : 0;
        assertThat(part.slots(layer, head)).isEqualTo(slots.length + more);
        assertThat(part.biased(layer, head)).isEqualTo(more);
        bytes += 4 * more + codec.keyBytes(slots.length + more, SIZE)
            + (layer < LAYERS - 1 ? codec.valueBytes(slots.length + more, SIZE) : 0);
        float[] before = keys(whole, layer, head);
        float[] after = keys(part, layer, head);
        for (int i = 0; i < slots.length; i++) {
          assertThat(Arrays.copyOfRange(after, (i + more) * SIZE, (i + more + 1) * SIZE))
              .isEqualTo(Arrays.copyOfRange(before, slots[i] * SIZE, (slots[i] + 1) * SIZE));
        }
        if (more == 1) {
          float[] bias = new float[1];
          part.readBiases(layer, head, 0, bias, 1);
          assertThat(bias[0]).isCloseTo((float) Math.log(tokens - slots.length), within(1e-6f));
        }
      }
    }
    if (part.layout.ragged()) {
      assertThat(part.bytes()).isEqualTo(bytes);
    }
    CpuKvSegment restored = CpuKvSegment.restore(part.image);
    for (int layer = 0; layer < LAYERS - 1; layer++) {
      assertThat(values(restored, layer, 1)).isEqualTo(values(part, layer, 1));
    }
  }

  private static Retained retained(int[][] kept, boolean compensated) {
    return new Retained() {
      @Override
      public int[] slots(int layer, int kvHead, int available) {
        return kept[layer * HEADS + kvHead];
      }

      @Override
      public boolean compensated(int layer, int kvHead) {
        return compensated;
      }
    };
  }

  @Property(tries = 30)
  void slicesPutTogetherAreTheWhole(@ForAll long seed, @ForAll @IntRange(min = 2, max = 90) int tokens) {
    CpuKvSegment whole = segment(KvCodec.FP16, rows(seed, tokens), tokens, 7);
    int cut = 1 + new Random(seed).nextInt(tokens - 1);
    CpuKvSegment head = SlotGather.slice(whole, 0, cut);
    CpuKvSegment tail = SlotGather.slice(whole, cut, tokens);
    assertThat(tail.firstPosition()).isEqualTo(7 + cut);
    CpuKvSegment again = new SlotGather(List.of(head, tail), KvCodec.FP16)
        .gather((layer, kvHead, available) -> IntStream.range(0, available).toArray());
    assertThat(again.image.asSlice(64).mismatch(whole.image.asSlice(64))).isEqualTo(-1);
  }

  @Property(tries = 20)
  void damagedDirectoriesAreRefused(@ForAll @IntRange(min = 0, max = 24 * LAYERS * HEADS - 1) int at) {
    CpuKvSegment whole = segment(KvCodec.INT8, rows(3, 20), 20, 0);
    int[][] kept = IntStream.range(0, LAYERS * HEADS).mapToObj(i -> new int[] {i, i + 3}).toArray(int[][]::new);
    kept[0] = new int[] {1};
    CpuKvSegment part = new SlotGather(List.of(whole), KvCodec.INT8).gather(retained(kept, true));
    byte[] image = part.image.toArray(ValueLayout.JAVA_BYTE);
    image[64 + at] ^= 0x15;
    assertThatThrownBy(() -> CpuKvSegment.restore(MemorySegment.ofArray(image)))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
