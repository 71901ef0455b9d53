package dev.attune.llm.kv;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.kv.KvPolicy.Retention;
import dev.attune.llm.kv.KvPolicy.Selection;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class KvPolicyTest {

  @ParameterizedTest
  @ValueSource(strings = {"full+bf16", "bf16", "BF16+full", " full + bf16 + all ", "full"})
  void parsesInAnyOrderAndFillsIn(String text) {
    assertThat(KvPolicy.parse(text)).isEqualTo(new KvPolicy(Retention.FULL, KvCodec.BF16, Selection.ALL));
    assertThat(KvPolicy.parse(text)).hasToString("full+bf16");
  }

  @Test
  void parsesF32() {
    assertThat(KvPolicy.parse("full+f32").codec()).isEqualTo(KvCodec.F32);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "full+", "razor+bf16", "full+int4", "full bf16"})
  void namesWhatIsNotKnown(String text) {
    assertThatThrownBy(() -> KvPolicy.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'" + text + "'")
        .hasMessageContaining("[full]")
        .hasMessageContaining("[f32, bf16, int8]");
  }
}
