package dev.attune.llm.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.ModelFileException;
import dev.attune.llm.SafetensorsBytes;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsFileTest {

  @TempDir private Path directory;

  private static SafetensorsBytes small() {
    return new SafetensorsBytes()
        .add("a", new float[] {1, 2, 3, 4, 5, 6}, 2, 3)
        .add("b", new float[] {7, 8}, 2);
  }

  private SafetensorsFile open(byte[] bytes) throws IOException {
    return SafetensorsFile.open(Files.write(directory.resolve("x.safetensors"), bytes));
  }

  private void assertRefused(byte[] bytes, String... message) {
    assertThatThrownBy(() -> open(bytes).close()).isInstanceOf(ModelFileException.class)
        .hasMessageStartingWith("x.safetensors: ").hasMessageContainingAll(message);
    assertThatThrownBy(() -> SafetensorsFile.of("x.safetensors", bytes)).isInstanceOf(ModelFileException.class)
        .hasMessageContainingAll(message);
  }

  @Test
  void readsRowsOfMatricesAndVectors() throws IOException {
    try (SafetensorsFile file = open(small().bytes())) {
      SafetensorsTensor a = file.find("a");
      assertThat(a).isNotNull();
      float[] row = new float[4];
      a.row(1, row, 1);
      assertThat(row).containsExactly(0, 4, 5, 6);
      assertThat(file.find("b")).isNotNull().satisfies(b -> {
        assertThat(b.rows()).isEqualTo(1);
        assertThat(b.columns()).isEqualTo(2);
      });
      assertThat(file.find("c")).isNull();
    }
  }

  @Test
  void readsHalves() {
    SafetensorsBytes content = small();
    content.header.get("b").put("dtype", "BF16");
    content.header.get("b").put("shape", List.of(4));
    SafetensorsFile file = SafetensorsFile.of("x", content.bytes());
    // 7f and 8f as pairs of bf16: the low half is zero.
    assertThat(file.find("b")).isNotNull().satisfies(b -> assertThat(b.values()).containsExactly(0, 7, 0, 8));
    content.header.get("b").put("dtype", "F16");
    SafetensorsFile f16 = SafetensorsFile.of("x", content.bytes());
    assertThat(f16.find("b")).isNotNull()
        .satisfies(b -> assertThat(b.values()[1]).isEqualTo(Float.float16ToFloat((short) 0x40e0)));
  }

  @Test
  void refusesFilesCutOffAnywhere() {
    byte[] whole = small().bytes();
    for (int length = 0; length < whole.length; length++) {
      byte[] cut = Arrays.copyOf(whole, length);
      assertThatThrownBy(() -> SafetensorsFile.of("x", cut)).as("%d of %d bytes", length, whole.length)
          .isInstanceOf(ModelFileException.class);
    }
    assertRefused(Arrays.copyOf(whole, whole.length - 1), "'b' reaches past the end", "not completely downloaded");
    assertRefused(Arrays.copyOf(whole, 40), "ends inside its header");
  }

  @Test
  void refusesAbsurdHeaders() {
    for (long length : new long[] {0, 1, -1, Long.MAX_VALUE, Long.MIN_VALUE, 100_000_001}) {
      byte[] bytes = small().bytes();
      ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(0, length);
      assertRefused(bytes, "not a safetensors file");
    }
    assertRefused(small().bytes("[]".getBytes(StandardCharsets.UTF_8)), "not a JSON object");
    assertRefused(small().bytes("{\"a\": ".getBytes(StandardCharsets.UTF_8)), "not JSON");
    assertRefused(small().bytes("{\"a\": {}}".getBytes(StandardCharsets.UTF_8)), "element type ''");
    assertRefused(small().bytes(("{\"a\": {\"x\": " + "[".repeat(5000) + "]".repeat(5000) + "}}")
        .getBytes(StandardCharsets.UTF_8)), "not JSON");
    String one = "\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4]}";
    assertRefused(small().bytes(("{" + one + ", " + one + "}").getBytes(StandardCharsets.UTF_8)), "Duplicate");
  }

  @Test
  void refusesTensorsThatCannotBe() {
    assertRefused(with("shape", List.of(3, 3)), "cannot take bytes 0 to 24");
    assertRefused(with("shape", List.of(0)), "shape [0]");
    assertRefused(with("shape", List.of(-2, -3)), "shape [-2,-3]");
    assertRefused(with("shape", List.of(1L << 40, 1L << 40)), "shape");
    assertRefused(with("shape", List.of(1L << 62, 4)), "shape");
    assertRefused(with("shape", List.of("2", 3)), "whole number");
    assertRefused(with("shape", List.of(2.5, 3)), "whole number");
    assertRefused(with("shape", List.of(1, 1, 1, 1, 1, 1, 1, 2, 3)), "no usable shape");
    assertRefused(with("shape", "all"), "no usable shape");
    assertRefused(with("dtype", "I64"), "element type 'I64'", "F32, F16, BF16");
    assertRefused(with("data_offsets", List.of(-24, 0)), "cannot take bytes");
    assertRefused(with("data_offsets", List.of(24, 0)), "cannot take bytes");
    assertRefused(with("data_offsets", List.of(1_000_000, 1_000_024)), "reaches past the end");
    assertRefused(with("data_offsets", List.of(Long.MAX_VALUE - 24, Long.MAX_VALUE)), "reaches past the end");
    assertRefused(with("data_offsets", Map.of("begin", 0)), "no usable shape and offsets");
    assertRefused(with("data_offsets", List.of(8, 32)), "tensors 'a' and 'b' overlap");
  }

  private static byte[] with(String key, Object value) {
    SafetensorsBytes content = small();
    content.header.get("a").put(key, value);
    return content.bytes();
  }

  @Test
  void survivesAnyByteChanged() {
    byte[] whole = small().bytes();
    Random random = new Random(3);
    for (int i = 0; i < 20_000; i++) {
      byte[] changed = whole.clone();
      changed[random.nextInt(changed.length)] = (byte) random.nextInt();
      try {
        SafetensorsFile.of("x", changed).tensors().forEach(SafetensorsTensor::values);
      } catch (ModelFileException e) {
        assertThat(e.getMessage()).startsWith("x: ");
      }
    }
  }
}
