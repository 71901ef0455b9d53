package dev.attune.llm.kv;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.kv.KvPolicy.Selection;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class KvPolicyTest {

  @ParameterizedTest
  @ValueSource(strings = {"full+fp16", "fp16", "FP16+full", " full + fp16 + all ", "full", "all"})
  void parsesInAnyOrderAndFillsIn(String text) {
    assertThat(KvPolicy.parse(text)).isEqualTo(new KvPolicy(new Retention.Full(), KvCodec.FP16, Selection.ALL));
    assertThat(KvPolicy.parse(text)).hasToString("full+fp16");
  }

  @Test
  void parsesParameters() {
    assertThat(KvPolicy.parse("int8 + razor( retrieval=0.32, window=128 )"))
        .isEqualTo(new KvPolicy(new Retention.Razor(0.32, 4, 128, false), KvCodec.INT8, Selection.ALL));
    assertThat(KvPolicy.parse("streaming").retention()).isEqualTo(new Retention.Streaming(4, 256));
    assertThat(KvPolicy.parse("full+f32").codec()).isEqualTo(KvCodec.F32);
    assertThat(KvPolicy.parse("full+bf16").codec()).isEqualTo(KvCodec.BF16);
    assertThat(KvPolicy.parse("full+bf16").codec(1)).isEqualTo(KvCodec.BF16);
    assertThat(KvPolicy.parse("full+int8").codec(1)).isEqualTo(KvCodec.FP16);
    assertThat(KvPolicy.parse("full+int8").in(KvCodec.BF16)).hasToString("full+bf16");
  }

  @Property
  void whatIsPrintedIsParsed(
      @ForAll @DoubleRange(min = 0, max = 1) double retrieval,
      @ForAll @IntRange(max = 4096) int sink,
      @ForAll @IntRange(min = 1, max = 1_000_000) int window,
      @ForAll boolean streaming,
      @ForAll boolean compensated,
      @ForAll KvCodec codec) {
    Retention retention =
        streaming ? new Retention.Streaming(sink, window) : new Retention.Razor(retrieval, sink, window, compensated);
    KvPolicy policy = new KvPolicy(retention, codec, Selection.ALL);
    assertThat(KvPolicy.parse(policy.toString())).isEqualTo(policy);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "full+", "raisor+fp16", "full+int4", "full+f16", "full bf16", "razor(", "razor(sink=1)x"})
  void namesWhatIsNotKnown(String text) {
    assertThatThrownBy(() -> KvPolicy.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'" + text + "'")
        .hasMessageContaining("[full, streaming, razor]")
        .hasMessageContaining("[f32, fp16, bf16, int8]");
  }

  @ParameterizedTest
  @CsvSource(delimiter = '|', textBlock = """
      full+razor                | more than one retention
      int8+bf16                 | more than one codec
      fp16+bf16                 | more than one codec
      razor(retrieval=1.5)      | retrieval is a share from 0 to 1, not 1.5
      razor(retrieval=NaN)      | retrieval is a number, not 'nan'
      razor(sink=2.5)           | sink is a whole number, not 2.5
      razor(sink=-1)            | sink is 0 to 4096 tokens, not -1
      streaming(window=0)       | window is 1 to 1000000 tokens, not 0
      streaming(window=many)    | window is a number, not 'many'
      streaming(retrieval=0.1)  | streaming has no parameter 'retrieval'; it has [sink, window]
      full(sink=1)              | full has no parameter 'sink'; it has []
      int8(bits=4)              | int8 has no parameter 'bits'
      razor(compensation=2)     | compensation is 0 or 1, not 2
      razor(sink)               | not one name=value: 'sink'
      razor(sink=1,sink=2)      | not one name=value: 'sink=2'
      """)
  void saysWhichParameterIsWrong(String text, String message) {
    assertThatThrownBy(() -> KvPolicy.parse(text))
        .isInstanceOf(IllegalArgumentException.class).hasMessageContaining(message);
  }
}
