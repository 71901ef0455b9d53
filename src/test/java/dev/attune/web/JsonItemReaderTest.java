package dev.attune.web;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.Test;
import org.springframework.util.unit.DataSize;
import tools.jackson.databind.json.JsonMapper;

class JsonItemReaderTest {

  private static final JsonMapper JSON = JsonMapper.builder().build();
  private final JsonItemReader reader =
      new JsonItemReader(JSON,
          new WebProperties(DataSize.ofMegabytes(1), DataSize.ofGigabytes(1), DataSize.ofKilobytes(32)));

  @Property(tries = 200)
  void linesAndArrayGiveTheSameItems(@ForAll @Size(max = 20) List<String> texts) {
    List<String> items = texts.stream().map(text -> JSON.writeValueAsString(java.util.Map.of("text", text))).toList();
    List<JsonItem> lines = read(String.join("\n", items));
    List<JsonItem> array = read("[" + String.join(",", items) + "]");
    assertThat(lines).isEqualTo(array).hasSameSizeAs(texts);
    assertThat(lines).allSatisfy(item -> assertThat(item).isInstanceOf(JsonItem.Value.class));
  }

  @Test
  void aMalformedLineIsOneItem() {
    List<JsonItem> items = read("\uFEFF\r\n{\"a\":1}\r\n\r\n{\"a\":\nnull\n{\"a\":2} x\n{\"a\":3}");
    assertThat(items).hasSize(5);
    assertThat(items.stream().map(i -> i instanceof JsonItem.Value).toList())
        .containsExactly(true, false, true, false, true);
    assertThat(items.stream().mapToLong(JsonItem::index)).containsExactly(0L, 1L, 2L, 3L, 4L);
    assertThat(((JsonItem.Malformed) items.get(1)).reason()).startsWith("not valid JSON at column");
  }

  @Test
  void anItemThatIsTooLongIsRejectedAlone() {
    String tooLong = "\"" + "x".repeat(40_000) + "\"";
    List<JsonItem> items = read("1\n" + tooLong + "\n2");
    assertThat(items).hasSize(3);
    assertThat(((JsonItem.Malformed) items.get(1)).reason()).contains("attune.web.max-item");
    assertThat(items.get(2)).isInstanceOf(JsonItem.Value.class);
  }

  @Test
  void anArrayEndsAtItsFirstError() {
    List<JsonItem> broken = read("[{\"a\":1},{\"a\":},{\"a\":2}]");
    assertThat(broken).hasSize(2);
    assertThat(((JsonItem.Malformed) broken.get(1)).reason()).contains("what follows was not read");
    assertThat(((JsonItem.Malformed) read("[1,2").getLast()).reason()).isNotEmpty();
    assertThat(((JsonItem.Malformed) read("[1] 2").getLast()).reason()).contains("after the end");
    String long1 = "\"" + "x".repeat(100_000) + "\"";
    assertThat(((JsonItem.Malformed) read("[1," + long1 + "]").getLast()).reason()).contains("attune.web.max-item");
  }

  @Test
  void anEmptyBodyHasNoItems() {
    assertThat(read("")).isEmpty();
    assertThat(read(" \n ")).isEmpty();
    assertThat(read("[]")).isEmpty();
  }

  @Test
  void readsLazily() {
    InputStream endless =
        new InputStream() {
          private final byte[] line = "{\"n\":1}\n".getBytes(StandardCharsets.UTF_8);
          private int at;

          @Override
          public int read() {
            return line[at++ % line.length];
          }
        };
    assertThat(reader.read(endless).limit(1000)).hasSize(1000);
  }

  @Test
  void aBodyThatBreaksOffIsAnError() {
    InputStream broken =
        new InputStream() {
          @Override
          public int read() throws IOException {
            throw new IOException("gone");
          }
        };
    assertThatThrownBy(() -> reader.read(broken).toList()).isInstanceOf(UncheckedIOException.class);
  }

  @Test
  void aByteOrderMarkThatIsCutOffIsGarbage() {
    assertThat(reader.read(new ByteArrayInputStream(new byte[] {(byte) 0xef})).toList()).hasSize(1);
  }

  @Property(tries = 100)
  void neverThrowsOnGarbage(@ForAll byte[] garbage) {
    List<JsonItem> items = reader.read(new ByteArrayInputStream(garbage)).toList();
    assertThat(items.stream().mapToLong(JsonItem::index).toArray())
        .isEqualTo(IntStream.range(0, items.size()).asLongStream().toArray());
  }

  private List<JsonItem> read(String body) {
    return reader.read(new ByteArrayInputStream(body.getBytes(StandardCharsets.UTF_8))).toList();
  }
}
