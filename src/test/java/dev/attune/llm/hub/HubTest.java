package dev.attune.llm.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.ModelFileException;
import dev.attune.llm.checkpoint.Checksums;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class HubTest {

  private static final HubModel MODEL = HubModel.parse("hf:tiny/model").orElseThrow();

  @TempDir private Path cache;

  private LocalHub server;
  private final List<String> progress = new ArrayList<>();

  @BeforeEach
  void start() throws IOException {
    server = new LocalHub();
    byte[] weights = new byte[300_000];
    new Random(1).nextBytes(weights);
    server.files.put("README.md", "not wanted".getBytes(StandardCharsets.UTF_8));
    server.files.put("config.json", "{}".getBytes(StandardCharsets.UTF_8));
    server.files.put("tokenizer.json", "{\"a\":1}".getBytes(StandardCharsets.UTF_8));
    server.files.put("model.safetensors", weights);
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private Path fetch(HubModel model) throws IOException {
    try (Hub hub = new Hub(server.endpoint(), Duration.ofMillis(1))) {
      return hub.fetch(model, cache, (file, bytes, of) -> progress.add("%s %d/%d".formatted(file, bytes, of)));
    }
  }

  private void assertComplete(Path place) throws IOException {
    for (String file : List.of("config.json", "tokenizer.json", "model.safetensors")) {
      assertThat(place.resolve(file)).hasBinaryContent(server.files.get(file));
    }
    try (Stream<Path> files = Files.list(place)) {
      assertThat(files.map(path -> path.getFileName().toString()))
          .containsExactlyInAnyOrder("config.json", "tokenizer.json", "model.safetensors", "SHA256SUMS");
    }
    assertThat(Checksums.recorded(place)).containsEntry("model.safetensors",
        LocalHub.hash("SHA-256", server.files.get("model.safetensors")));
    assertThat(Hub.isComplete(MODEL, cache)).isTrue();
  }

  @Test
  void bringsWhatAModelNeeds() throws IOException {
    assertThat(Hub.isComplete(MODEL, cache)).isFalse();
    assertComplete(fetch(MODEL));
    assertThat(progress).contains("model.safetensors 300000/300000");
    server.requests.clear();
    assertComplete(fetch(MODEL));
    assertThat(server.requests).as("what is there and right is not fetched again").isEmpty();
  }

  @Test
  void goesOnWhereTheConnectionWasCut() throws IOException {
    server.cutAfter = 70_000;
    assertComplete(fetch(MODEL));
    List<String> weights = server.requests.stream().filter(r -> r.startsWith("model.safetensors")).toList();
    assertThat(weights).hasSizeGreaterThan(3).first().isEqualTo("model.safetensors null");
    assertThat(weights).last().satisfies(r -> assertThat(r).matches("model.safetensors bytes=2\\d{5}-"));
  }

  @Test
  void aServerWithoutRangesIsReadFromTheStart() throws IOException {
    server.cutAfter = 200_000;
    server.ranges = false;
    assertThatThrownBy(() -> fetch(MODEL)).isInstanceOf(IOException.class).hasMessageContaining("brought nothing");
    server.cutAfter = Integer.MAX_VALUE;
    assertComplete(fetch(MODEL));
  }

  @Test
  void anotherProcessGoesOn() throws IOException {
    server.cutAfter = 70_000;
    server.absent = "model.safetensors";
    assertThatThrownBy(() -> fetch(MODEL)).isInstanceOf(ModelFileException.class)
        .hasMessageContaining("does not exist, though the hub lists it");
    assertThat(Hub.isComplete(MODEL, cache)).isFalse();
    server.absent = "";
    String sum = LocalHub.hash("SHA-256", server.files.get("model.safetensors"));
    Path part = MODEL.directory(cache).resolve("model.safetensors." + sum.substring(0, 16) + ".part");
    Files.write(part, Arrays.copyOf(server.files.get("model.safetensors"), 250_000));
    server.requests.clear();
    assertComplete(fetch(MODEL));
    assertThat(server.requests).containsExactly("model.safetensors bytes=250000-");
  }

  @Test
  void wrongChecksumIsNeverUsed() throws IOException {
    server.corrupt = true;
    assertThatThrownBy(() -> fetch(MODEL)).isInstanceOf(ModelFileException.class)
        .hasMessageContaining("config.json of hf:tiny/model came with another checksum");
    assertThat(Hub.isComplete(MODEL, cache)).isFalse();
    try (Stream<Path> files = Files.list(MODEL.directory(cache))) {
      assertThat(files).isEmpty();
    }
    server.corrupt = false;
    assertComplete(fetch(MODEL));
    server.files.get("model.safetensors")[5] ^= 1;
    progress.clear();
    assertComplete(fetch(MODEL));
    assertThat(progress).as("a new version is fetched whole").contains("model.safetensors 300000/300000");
  }

  @Test
  void damageOnDiskIsRepaired() throws IOException {
    Path place = fetch(MODEL);
    byte[] damaged = Files.readAllBytes(place.resolve("model.safetensors"));
    damaged[1000] ^= 4;
    Files.write(place.resolve("model.safetensors"), damaged);
    assertComplete(fetch(MODEL));
  }

  @Test
  void deadConnectionsGiveUp() {
    server.cutAfter = 0;
    assertThatThrownBy(() -> fetch(MODEL)).isInstanceOf(IOException.class)
        .hasMessageContaining("5 attempts brought nothing").hasMessageContaining("are kept");
  }

  @Test
  void followsRedirects() throws IOException {
    server.redirects = true;
    server.cutAfter = 100_000;
    assertComplete(fetch(MODEL));
  }

  @Test
  void whatTheHubLacksIsNamed() {
    server.files.remove("tokenizer.json");
    assertThatThrownBy(() -> fetch(MODEL)).hasMessage("hf:tiny/model has no tokenizer.json");
    server.files.remove("model.safetensors");
    assertThatThrownBy(() -> fetch(MODEL)).hasMessageContaining("neither safetensors nor GGUF");
    assertThatThrownBy(() -> fetch(HubModel.parse("hf:tiny/other").orElseThrow()))
        .hasMessageContaining("hf:tiny/other does not exist on http://127.0.0.1");
    server.status = 401;
    assertThatThrownBy(() -> fetch(MODEL)).hasMessageContaining("people with permission");
    server.status = 500;
    assertThatThrownBy(() -> fetch(MODEL)).isInstanceOf(IOException.class).hasMessageContaining("status 500");
  }

  @Test
  void oneOfSeveralGgufFilesIsNamed() throws IOException {
    server.files.remove("model.safetensors");
    server.files.put("a.gguf", new byte[] {1, 2});
    server.files.put("b.gguf", new byte[] {3});
    assertThatThrownBy(() -> fetch(MODEL)).hasMessageContaining("2 GGUF files").hasMessageContaining("a.gguf, b.gguf");
    HubModel b = HubModel.parse("hf:tiny/model:b.gguf").orElseThrow();
    assertThat(fetch(b)).hasBinaryContent(new byte[] {3}).hasFileName("b.gguf");
    fetch(HubModel.parse("hf:tiny/model:a.gguf").orElseThrow());
    assertThat(Checksums.recorded(b.directory(cache)).keySet()).containsExactly("b.gguf", "a.gguf");
    assertThatThrownBy(() -> fetch(HubModel.parse("hf:tiny/model:c.gguf").orElseThrow()))
        .hasMessageContaining("has no file c.gguf");
  }

  @Test
  void namesAreRead() {
    assertThat(HubModel.parse("/models/a.gguf")).isEmpty();
    assertThat(HubModel.parse("hf:Org/SmolLM2-1.7B@v1.0:x-Q4_0.gguf"))
        .contains(new HubModel("Org", "SmolLM2-1.7B", "v1.0", "x-Q4_0.gguf"));
    for (String wrong : List.of(
        "hf:", "hf:name", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a/b@../c", "hf:a/b:../c.gguf")) {
      assertThatThrownBy(() -> HubModel.parse(wrong)).as(wrong).hasMessageContaining("is not of the form");
    }
    assertThatThrownBy(() -> new Hub(URI.create("file:///etc"), Duration.ZERO)).hasMessageContaining("attune.llm.hub");
  }

  @Test
  void namesOfFilesCannotLeadOut() throws IOException {
    server.files.put("../evil.json", new byte[] {1});
    server.files.put("sub/model.safetensors", new byte[] {1});
    assertComplete(fetch(MODEL));
  }
}
