package dev.attune.llm.gguf;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.ModelFileException;
import dev.attune.llm.TinyGguf;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GgufFileTest {

  @TempDir private Path directory;

  private static TinyGguf tiny() {
    return TinyGguf.model(1, 2, 40, 4, 2, 8, 24, true);
  }

  private GgufFile open(byte[] bytes) throws IOException {
    Path path = directory.resolve("model.gguf");
    Files.write(path, bytes);
    return GgufFile.open(path);
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void readsBothVersions(int version) throws IOException {
    TinyGguf tiny = tiny();
    tiny.version = version;
    try (GgufFile file = open(tiny.bytes())) {
      assertThat(file.text("general.architecture")).isEqualTo("llama");
      assertThat(file.integer("llama.block_count")).isEqualTo(2);
      assertThat(file.number("llama.rope.freq_base")).isEqualTo(10_000);
      assertThat(file.texts("tokenizer.ggml.tokens")).hasSize(261);
      float[] row = new float[40];
      file.tensor("blk.1.ffn_gate.weight", 24, 40).row(23, row, 0);
      assertThat(row).isEqualTo(Arrays.copyOfRange(tiny.weights.get("blk.1.ffn_gate.weight"), 23 * 40, 24 * 40));
    }
  }

  @Test
  void namesAbsentAndMisshapenThings() throws IOException {
    try (GgufFile file = open(tiny().bytes())) {
      assertThatThrownBy(() -> file.text("no.such")).hasMessage("model.gguf: metadata 'no.such' is missing");
      assertThatThrownBy(() -> file.integer("general.name")).hasMessageContaining("unexpected type");
      assertThatThrownBy(() -> file.tensor("blk.9.ffn_up.weight", 1, 1)).hasMessageContaining("is missing");
      assertThatThrownBy(() -> file.tensor("blk.0.ffn_up.weight", 25, 40))
          .hasMessageContaining("blk.0.ffn_up.weight F32 [24, 40] should have shape [25, 40]");
    }
  }

  @Test
  void refusesOtherFiles() {
    assertThatThrownBy(() -> open(new byte[0])).hasMessage("model.gguf: not a GGUF file");
    byte[] page = "<html>no such page here, sorry</html>".getBytes(StandardCharsets.UTF_8);
    assertThatThrownBy(() -> open(page)).hasMessage("model.gguf: not a GGUF file");
    TinyGguf future = tiny();
    future.version = 4;
    assertThatThrownBy(() -> open(future.bytes())).hasMessageContaining("version 4 is not supported");
  }

  /** Whatever is cut off, the answer is one exception of ours. */
  @Test
  void refusesFilesCutOffAnywhere() {
    byte[] whole = tiny().bytes();
    Random random = new Random(1);
    for (int i = 0; i < 400; i++) {
      int length = i < 200 ? i : random.nextInt(whole.length - 32);
      assertThatThrownBy(() -> open(Arrays.copyOf(whole, length))).as("%d bytes", length)
          .isInstanceOf(ModelFileException.class).hasMessageStartingWith("model.gguf: ");
    }
  }

  /** Overwriting any place with a huge number is refused or harmless; it never ends in another kind of error. */
  @Test
  void survivesAbsurdNumbersAnywhere() throws IOException {
    byte[] whole = tiny().bytes();
    long[] absurd = {-1, Long.MAX_VALUE, Long.MIN_VALUE, 1L << 40, 0x7fffffffL};
    Random random = new Random(2);
    int refused = 0;
    for (int i = 0; i < 600; i++) {
      byte[] damaged = whole.clone();
      int at = i < 100 ? 4 + i : random.nextInt(12_000);
      ByteBuffer.wrap(damaged).order(ByteOrder.LITTLE_ENDIAN).putLong(at, absurd[i % absurd.length]);
      try (GgufFile file = open(damaged)) {
        assertThat(file.bytes().byteSize()).isEqualTo(damaged.length);
      } catch (ModelFileException e) {
        refused++;
      }
    }
    assertThat(refused).isGreaterThan(50);
  }

  @Test
  void refusesTensorsThatCannotBe() {
    assertRefused(new long[] {32}, 99, 128, "'odd' has element type 99");
    assertRefused(new long[] {33}, 8, 128, "not a multiple of Q8_0's block of 32");
    assertRefused(new long[] {1L << 32, 1L << 32}, 0, 128, "'odd' has shape [4294967296, 4294967296]");
    assertRefused(new long[] {1, 1, 1, 1, 1}, 0, 4, "'odd' has 5 dimensions");
    assertRefused(new long[] {4096}, 0, 128, "'odd' reaches past the end of the file");
    assertRefused(new long[] {0}, 0, 128, "'odd' has shape [0]");
    TinyGguf alignment = tiny();
    alignment.metadata.put("general.alignment", 33);
    assertThatThrownBy(() -> open(alignment.bytes())).hasMessageContaining("alignment is 33");
  }

  @Test
  void refusesTensorsThatOverlap() {
    byte[] bytes = tiny().bytes();
    byte[] name = "blk.0.attn_q.weight".getBytes(StandardCharsets.UTF_8);
    int at = 0;
    while (!Arrays.equals(bytes, at, at + name.length, name, 0, name.length)) {
      at++;
    }
    // After the name: dimension count, two dimensions, type.
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(at + name.length + 4 + 16 + 4, 32);
    assertThatThrownBy(() -> open(bytes)).isInstanceOf(ModelFileException.class)
        .hasMessageContaining("'blk.0.attn_q.weight' overlap");
  }

  private void assertRefused(long[] dimensions, int type, int bytes, String message) {
    TinyGguf tiny = tiny();
    tiny.tensors.put("odd", new TinyGguf.Tensor(dimensions, type, new byte[bytes]));
    assertThatThrownBy(() -> open(tiny.bytes())).isInstanceOf(ModelFileException.class).hasMessageContaining(message);
  }

  @Test
  void readsValuesOfEveryKind() throws IOException {
    TinyGguf tiny = tiny();
    tiny.metadata.put("flag", true);
    tiny.metadata.put("nested", List.of(List.of(1, 2), List.of(3)));
    try (GgufFile file = open(tiny.bytes())) {
      assertThat(file.has("flag")).isTrue();
      assertThat(file.has("nested")).isTrue();
      assertThatThrownBy(() -> file.integers("nested")).hasMessageContaining("elements of an unexpected type");
    }
  }
}
