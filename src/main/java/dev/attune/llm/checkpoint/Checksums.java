package dev.attune.llm.checkpoint;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.apache.commons.codec.digest.DigestUtils;

/** SHA-256 sums of files. */
public final class Checksums {

  /** Name of the file beside a model in which sums are recorded, as {@code sha256sum} prints them. */
  public static final String RECORD = "SHA256SUMS";

  private Checksums() {}

  /** Recorded sums by name of file, empty when there is no record. */
  public static SequencedMap<String, String> recorded(Path directory) throws IOException {
    SequencedMap<String, String> sums = new LinkedHashMap<>();
    Path record = directory.resolve(RECORD);
    if (Files.exists(record)) {
      for (String line : Files.readAllLines(record)) {
        if (line.matches("[0-9a-f]{64} [ *][^/\\\\]+")) {
          sums.put(line.substring(66), line.substring(0, 64));
        }
      }
    }
    return sums;
  }

  /** Records sums, at once or not at all. */
  public static void record(Path directory, Map<String, String> sums) throws IOException {
    StringBuilder lines = new StringBuilder();
    sums.forEach((name, sum) -> lines.append(sum).append("  ").append(name).append('\n'));
    Path part = directory.resolve(RECORD + ".part");
    Files.writeString(part, lines);
    Files.move(part, directory.resolve(RECORD), StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
  }

  /** The sum of a file, in hex. */
  public static String of(Path file) throws IOException {
    return of(file, DigestUtils.getSha256Digest());
  }

  /** What a digest says of what it was given and then a file, in hex. */
  public static String of(Path file, MessageDigest digest) throws IOException {
    byte[] buffer = new byte[1 << 20];
    try (InputStream in = Files.newInputStream(file)) {
      for (int read; (read = in.read(buffer)) >= 0; ) {
        digest.update(buffer, 0, read);
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  /** The sum of one file, or of the list of sums of several. */
  static String ofAll(List<Path> files) throws IOException {
    if (files.size() == 1) {
      return of(files.getFirst());
    }
    MessageDigest digest = DigestUtils.getSha256Digest();
    for (Path file : files) {
      digest.update((of(file) + "  " + file.getFileName() + "\n").getBytes(StandardCharsets.UTF_8));
    }
    return HexFormat.of().formatHex(digest.digest());
  }
}
