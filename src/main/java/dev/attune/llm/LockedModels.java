package dev.attune.llm;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The models that the build fetches, from {@code models/models.lock}. */
record LockedModels(List<Entry> entries) {

  /**
   * One model.
   *
   * @param file its name in the cache
   * @param sha256 of the file
   */
  record Entry(String name, String file, String sha256) {}

  /** Reads the list that was packaged with the program; empty when it was not. */
  static LockedModels packaged() throws IOException {
    try (InputStream in = LockedModels.class.getResourceAsStream("/models/models.lock")) {
      return parse(in == null ? "" : new String(in.readAllBytes(), StandardCharsets.UTF_8));
    }
  }

  /** Columns: name, file in the cache, package, its sum, path in it, sum of the file. */
  static LockedModels parse(String text) {
    List<Entry> entries = new ArrayList<>();
    for (String line : text.lines().map(String::strip).filter(l -> !l.isEmpty() && !l.startsWith("#")).toList()) {
      String[] columns = line.split("\\s+");
      if (columns.length != 6) {
        throw new ModelFileException("models.lock: '%s' has not six columns".formatted(line));
      }
      entries.add(new Entry(columns[0], columns[1], columns[5]));
    }
    return new LockedModels(List.copyOf(entries));
  }

  Optional<Entry> ofFile(String file) {
    return entries.stream().filter(entry -> entry.file.equals(file)).findFirst();
  }
}
