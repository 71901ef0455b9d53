package dev.attune.entity;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.zip.GZIPInputStream;

/** Reads the lists and the knowledge base that come with the service: UTF-8, unpacked where the name ends in .gz. */
final class BundledFile {

  private BundledFile() {}

  /** Shows every line of a resource. */
  static void forEachLine(String resource, Consumer<String> line) {
    try (BufferedReader reader = new BufferedReader(new InputStreamReader(open(resource), StandardCharsets.UTF_8))) {
      reader.lines().forEach(line);
    } catch (IOException e) {
      throw unreadable(resource, e);
    }
  }

  /** The bytes of a resource; the caller closes them. */
  static InputStream open(String resource) throws IOException {
    InputStream stored = Objects.requireNonNull(BundledFile.class.getResourceAsStream(resource), resource);
    return resource.endsWith(".gz") ? new GZIPInputStream(stored) : stored;
  }

  static UncheckedIOException unreadable(String resource, IOException e) {
    return new UncheckedIOException("cannot read " + resource, e);
  }
}
