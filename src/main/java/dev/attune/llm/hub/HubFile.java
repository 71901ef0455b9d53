package dev.attune.llm.hub;

import dev.attune.llm.checkpoint.Checksums;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import org.apache.commons.codec.digest.DigestUtils;

/**
 * A file of a model, as the hub lists it.
 *
 * @param size bytes
 * @param sha256 of large files, otherwise empty
 * @param gitSha1 of small ones: SHA-1 of {@code "blob <size>\0"} and the content
 */
record HubFile(String name, long size, String sha256, String gitSha1) {

  /** Checks a complete download. */
  boolean matches(Path file) throws IOException {
    if (!sha256.isEmpty()) {
      return Checksums.of(file).equals(sha256);
    }
    MessageDigest digest = DigestUtils.getSha1Digest();
    digest.update(("blob " + size + "\0").getBytes(StandardCharsets.US_ASCII));
    return Checksums.of(file, digest).equals(gitSha1);
  }
}
