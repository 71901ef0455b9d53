package dev.attune.retrieval;

import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A document of the index.
 *
 * @param fields further fields; values are {@code String}, {@code Number} or {@code List<String>}
 */
public record Document(
    String id,
    String title,
    String text,
    @Nullable String url,
    @Nullable String image,
    Map<String, Object> fields) {

  public Document {
    fields = Map.copyOf(fields);
  }
}
