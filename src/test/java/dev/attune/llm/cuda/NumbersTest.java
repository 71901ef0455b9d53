package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.kv.KvCodec;
import dev.attune.llm.kv.KvPolicy;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class NumbersTest {

  /** All 2^16 patterns: each number is itself, and what lies halfway between two becomes the even one. */
  @ParameterizedTest
  @EnumSource(Numbers.class)
  void roundsToNearest(Numbers numbers) {
    for (int bits = 0; bits < 0x7fff; bits++) {
      float value = numbers.value((short) bits);
      float next = numbers.value((short) (bits + 1));
      if (!Float.isFinite(next)) {
        break;
      }
      assertThat(numbers.bits(value)).isEqualTo((short) bits);
      assertThat(numbers.bits(-value)).isEqualTo((short) (bits | 0x8000));
      float middle = value + (next - value) / 2;
      assertThat(numbers.bits(middle)).isEqualTo((short) (bits + bits % 2));
      assertThat(numbers.bits(Math.nextUp(middle))).isEqualTo((short) (bits + 1));
      assertThat(numbers.bits(Math.nextDown(middle))).isEqualTo((short) bits);
    }
  }

  @ParameterizedTest
  @EnumSource(Numbers.class)
  void errorsAreThoseOfTheType(Numbers numbers) {
    Random random = new Random(7);
    double most = 0;
    for (int i = 0; i < 100_000; i++) {
      float value = (float) random.nextGaussian();
      if (Math.abs(value) > 1e-4) {
        most = Math.max(most, Math.abs(numbers.value(numbers.bits(value)) - value) / Math.abs(value));
      }
    }
    double half = numbers == Numbers.FP16 ? 0x1p-11 : 0x1p-8;
    assertThat(most).isBetween(0.9 * half, half);
  }

  @ParameterizedTest
  @EnumSource(Numbers.class)
  void segmentsOfSixteenBitsAreOfTheType(Numbers numbers) {
    assertThat(numbers.codec).hasToString(numbers.name());
    assertThat(numbers.kept(KvCodec.FP16)).isEqualTo(numbers.codec);
    assertThat(numbers.kept(KvCodec.BF16)).isEqualTo(numbers.codec);
    assertThat(numbers.kept(KvCodec.INT8)).isEqualTo(KvCodec.INT8);
    assertThat(numbers.kept(KvCodec.F32)).isEqualTo(KvCodec.F32);
    KvPolicy asked = KvPolicy.parse("razor(retrieval=0.5)+" + (numbers == Numbers.FP16 ? "bf16" : "fp16"));
    assertThat(new CudaBackend.Settings(asked, numbers, false, 0, 0, 1).policy().toString())
        .startsWith("razor(retrieval=0.5,").endsWith("+" + numbers);
  }

  /** The residual is kept exactly, and far from what fp16 cannot be. */
  @ParameterizedTest
  @EnumSource(Numbers.class)
  void theScaleOfTheResidualIsAPowerOfTwo(Numbers numbers) {
    assertThat(Math.scalb(1f, Math.getExponent(numbers.residualScale))).isEqualTo(numbers.residualScale);
    assertThat(numbers.value(numbers.bits(1e6f))).isFinite();
    assertThat(numbers.value(numbers.bits(-1e6f))).isEqualTo(-numbers.value(numbers.bits(1e6f)));
  }
}
