package dev.attune.llm.hub;

import dev.attune.llm.ModelFileException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

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
    MessageDigest digest = digest(sha256.isEmpty() ? "SHA-1" : "SHA-256");
    if (sha256.isEmpty()) {
      digest.update(("blob " + size + "\0").getBytes(StandardCharsets.US_ASCII));
    }
    byte[] buffer = new byte[1 << 20];
    try (InputStream in = Files.newInputStream(file)) {
      for (int read; (read = in.read(buffer)) >= 0; ) {
        digest.update(buffer, 0, read);
      }
    }
    return HexFormat.of().formatHex(digest.digest()).equals(sha256.isEmpty() ? gitSha1 : sha256);
  }

  private static MessageDigest digest(String algorithm) {
    try {
      return MessageDigest.getInstance(algorithm);
    } catch (NoSuchAlgorithmException e) {
      throw new ModelFileException("This Java has no " + algorithm, e);
    }
  }
}
