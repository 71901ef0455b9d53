package dev.attune.llm.gguf;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.InputStream;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tools.jackson.core.type.TypeReference;
import tools.jackson.databind.json.JsonMapper;

/** Dequantisation agrees with the gguf package; expected values come from {@code training/golden_dequantize.py}. */
class GgmlTypeTest {

  record Case(String type, String data, String values) {}

  static Stream<Case> cases() {
    InputStream in = GgmlTypeTest.class.getResourceAsStream("/golden/dequantized.json");
    List<Case> cases = JsonMapper.shared().readValue(in, new TypeReference<List<Case>>() {});
    return cases.stream();
  }

  @ParameterizedTest
  @MethodSource("cases")
  void agreesWithTheReference(Case expected) {
    GgmlType type = GgmlType.valueOf(expected.type());
    byte[] data = Base64.getDecoder().decode(expected.data());
    ByteBuffer values = ByteBuffer.wrap(Base64.getDecoder().decode(expected.values())).order(ByteOrder.LITTLE_ENDIAN);
    int count = values.remaining() / 4;
    assertThat(type.bytes(count)).isEqualTo(data.length);
    float[] out = new float[count + 1];
    type.dequantize(MemorySegment.ofArray(data), 0, out, 1, count);
    for (int i = 0; i < count; i++) {
      float value = values.getFloat(4 * i);
      assertThat(out[i + 1]).as("value %d", i).isCloseTo(value, within(Math.abs(value) * 1e-6f));
    }
  }

  @Test
  void everyTypeIsCovered() {
    assertThat(cases().map(Case::type))
        .containsExactlyInAnyOrderElementsOf(
            Arrays.stream(GgmlType.values()).filter(type -> type != GgmlType.F32).map(Enum::name).toList());
  }
}
