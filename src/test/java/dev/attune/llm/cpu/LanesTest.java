package dev.attune.llm.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

/** Conversion to fp16 and back: in vectors, and one by one at the end of a row, bit for bit the same. */
class LanesTest {

  private static final float LARGEST = 65504f;

  /** Rounded all together, in vectors. */
  private static short[] together(float[] numbers) {
    MemorySegment out = MemorySegment.ofArray(new short[numbers.length]);
    Lanes.toFp16(numbers, 0, out, 0, numbers.length);
    return out.toArray(ValueLayout.JAVA_SHORT_UNALIGNED);
  }

  /** Rounded one at a time, without vectors. */
  private static short[] single(float[] numbers) {
    MemorySegment out = MemorySegment.ofArray(new short[numbers.length]);
    for (int i = 0; i < numbers.length; i++) {
      Lanes.toFp16(numbers, i, out, 2L * i, 1);
    }
    return out.toArray(ValueLayout.JAVA_SHORT_UNALIGNED);
  }

  private static float[] widened(short[] halves) {
    float[] numbers = new float[halves.length];
    Lanes.fromFp16(MemorySegment.ofArray(halves), 0, numbers, 0, halves.length);
    return numbers;
  }

  /** By IEEE 754's definition, without the library. */
  private static double value(short half) {
    int exponent = half >> 10 & 31;
    int mantissa = half & 1023;
    double size = exponent == 0 ? Math.scalb((double) mantissa, -24) : Math.scalb(1024.0 + mantissa, exponent - 25);
    return half < 0 ? -size : size;
  }

  private static short[] finiteHalves() {
    short[] halves = new short[2 * 0x7c00];
    for (int i = 0; i < 0x7c00; i++) {
      halves[2 * i] = (short) i;
      halves[2 * i + 1] = (short) (i | 0x8000);
    }
    return halves;
  }

  @Test
  void everyNumberOfSixteenBitsStaysWhatItIs() {
    short[] halves = finiteHalves();
    float[] numbers = widened(halves);
    for (int i = 0; i < halves.length; i++) {
      assertThat((double) numbers[i]).isEqualTo(value(halves[i]));
    }
    assertThat(together(numbers)).isEqualTo(halves);
    assertThat(single(numbers)).isEqualTo(halves);
    assertThat(widened(new short[] {0x7c00, (short) 0xfc00, 0x7e00}))
        .containsExactly(Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, Float.NaN);
  }

  /** Between neighbours the middle goes to the even one, and what is next to the middle to the nearer one. */
  @Test
  void roundsToNearestAndTiesToEven() {
    float[] numbers = new float[6 * 0x7bff];
    short[] expected = new short[numbers.length];
    for (int i = 0; i < 0x7bff; i++) {
      float middle = (float) ((value((short) i) + value((short) (i + 1))) / 2);
      float[] around = {middle, Math.nextDown(middle), Math.nextUp(middle)};
      int[] rounded = {i + (i & 1), i, i + 1};
      for (int j = 0; j < 3; j++) {
        numbers[6 * i + 2 * j] = around[j];
        expected[6 * i + 2 * j] = (short) rounded[j];
        numbers[6 * i + 2 * j + 1] = -around[j];
        expected[6 * i + 2 * j + 1] = (short) (rounded[j] | 0x8000);
      }
    }
    assertThat(together(numbers)).isEqualTo(expected);
    assertThat(single(numbers)).isEqualTo(expected);
  }

  @Test
  void numbersBeyondTheLargestBecomeThatAndNoneBecomesInfinite() {
    float[] large = {65504, Math.nextUp(65504f), 65519.99f, 65520, 65536, 1e9f, Float.MAX_VALUE,
        Float.POSITIVE_INFINITY};
    float[] numbers = new float[64];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = i % 2 == 0 ? large[i / 2 % large.length] : -large[i / 2 % large.length];
    }
    for (short[] halves : new short[][] {together(numbers), single(numbers)}) {
      float[] back = widened(halves);
      for (int i = 0; i < back.length; i++) {
        assertThat(back[i]).isEqualTo(i % 2 == 0 ? LARGEST : -LARGEST);
      }
    }
    float[] none = new float[64];
    Arrays.fill(none, Float.NaN);
    assertThat(widened(together(none))).containsOnly(Float.NaN);
    assertThat(widened(single(none))).containsOnly(Float.NaN);
  }

  @Property(tries = 300)
  void vectorsRoundAsSingleNumbersDoAndByHalfAStepAtMost(
      @ForAll long seed, @ForAll @IntRange(min = 1, max = 200) int n) {
    Random random = new Random(seed);
    float[] numbers = new float[n];
    for (int i = 0; i < n; i++) {
      float any = Float.intBitsToFloat(random.nextInt());
      numbers[i] = random.nextBoolean() && !Float.isNaN(any) ? any
          : (float) random.nextGaussian() * Math.scalb(1f, random.nextInt(44) - 28);
    }
    short[] halves = together(numbers);
    assertThat(halves).isEqualTo(single(numbers));
    float[] back = widened(halves);
    for (int i = 0; i < n; i++) {
      double wanted = Math.clamp((double) numbers[i], -LARGEST, LARGEST);
      double step = Math.scalb(1.0, Math.max(-14, Math.getExponent(wanted)) - 10);
      assertThat(Math.abs(back[i] - wanted)).isLessThanOrEqualTo(step / 2);
    }
  }

  /** Whatever lies before and behind stays as it was. */
  @Property(tries = 100)
  void onlyWhatIsAskedForIsWritten(@ForAll @IntRange(max = 70) int n, @ForAll @IntRange(max = 40) int before) {
    float[] ones = new float[before + n + 5];
    Arrays.fill(ones, 1);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(2L * (before + n + 5), 2);
      Lanes.toFp16(ones, before, out, 2L * before, n);
      float[] back = new float[before + n + 5];
      Lanes.fromFp16(out, 2L * before, back, before, n);
      for (int i = 0; i < back.length; i++) {
        float expected = i >= before && i < before + n ? 1 : 0;
        assertThat(out.get(ValueLayout.JAVA_SHORT_UNALIGNED, 2L * i)).isEqualTo((short) (expected == 1 ? 0x3c00 : 0));
        assertThat(back[i]).isEqualTo(expected);
      }
    }
  }
}
