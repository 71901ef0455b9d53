package dev.attune.demo;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.zip.GZIPInputStream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Logs of people who do not exist, made by {@code tools/simulate_users.py} from real queries about the films. Each
 * line is a UBI query or event, flagged {@code simulated}, with {@code seconds_ago} instead of {@code timestamp}.
 */
final class SimulatedUsers {

  private static final String RESOURCE = "/demo/simulated-users.ndjson.gz";
  private static final JsonMapper MAPPER = JsonMapper.builder().build();

  private SimulatedUsers() {}

  /** The items as UBI 1.3, their times counted back from {@code now}. */
  static List<JsonNode> read(Instant now) {
    try (InputStream in = Objects.requireNonNull(SimulatedUsers.class.getResourceAsStream(RESOURCE), RESOURCE);
        BufferedReader lines =
            new BufferedReader(new InputStreamReader(new GZIPInputStream(in), StandardCharsets.UTF_8))) {
      return lines.lines().map(line -> item(line, now)).toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static JsonNode item(String line, Instant now) {
    ObjectNode item = (ObjectNode) MAPPER.readTree(line);
    long secondsAgo = item.remove("seconds_ago").asLong();
    item.put("timestamp", now.minusSeconds(secondsAgo).toString());
    return item;
  }
}
