package dev.attune.retrieval;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Map;
import org.apache.commons.codec.digest.DigestUtils;
import org.jspecify.annotations.Nullable;

/**
 * A document of the index.
 *
 * @param fields further fields; values are {@code String}, {@code Number} or {@code List<String>}; numbers read back
 *     from the index are {@code Long} or {@code Double}
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

  /** SHA-256 of title and text as lower-case hex: equal as long as a model would read the same. */
  public String contentHash() {
    MessageDigest digest = DigestUtils.getSha256Digest();
    digest.update(title.getBytes(StandardCharsets.UTF_8));
    digest.update((byte) 0);
    digest.update(text.getBytes(StandardCharsets.UTF_8));
    return HexFormat.of().formatHex(digest.digest());
  }
}
