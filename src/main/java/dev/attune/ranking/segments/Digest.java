package dev.attune.ranking.segments;

import java.nio.ByteBuffer;
import org.apache.commons.codec.digest.DigestUtils;

/** The first 16 bytes of the SHA-256 of a text: files hold no document ids, and every key has the same size. */
public record Digest(long high, long low) {

  /** The digest of the UTF-8 form. */
  public static Digest of(String text) {
    ByteBuffer bytes = ByteBuffer.wrap(DigestUtils.sha256(text));
    return new Digest(bytes.getLong(), bytes.getLong());
  }
}
