package dev.attune.evaluation;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.springframework.core.io.Resource;
import org.springframework.core.io.support.PathMatchingResourcePatternResolver;
import org.yaml.snakeyaml.DumperOptions;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.constructor.SafeConstructor;

/**
 * A table of measured figures and how they came about: one YAML file in {@code evaluation/results}.
 *
 * @param name name of the file, without {@code .yml}
 * @param command that measured it; {@code evaluate check} runs those again that begin with {@code evaluate}
 * @param commit of the project
 * @param date ISO date
 * @param machine in words
 * @param model fingerprint of the language model; null when none was used
 * @param notes what a reader should know
 * @param data SHA-256 (first 16 hexadecimal digits) of the data by name
 * @param tolerances by measure, how far a repetition may be off; measures without one are not compared
 * @param keys columns that name a row
 */
record MeasuredResult(
    String name,
    String title,
    String command,
    String commit,
    String date,
    String machine,
    @Nullable String model,
    @Nullable String notes,
    Map<String, String> data,
    Map<String, Double> tolerances,
    List<String> keys,
    List<Row> rows) {

  private static final String LOCATION = "evaluation/results/";

  /**
   * A line of the table.
   *
   * @param keys by column, what the figures are of
   * @param figures by measure; a measure that does not apply is left out
   */
  record Row(Map<String, String> keys, Map<String, Double> figures) {}

  /** Measures of all rows, in the order in which they first appear. */
  List<String> measures() {
    return rows.stream().flatMap(row -> row.figures.keySet().stream()).distinct().toList();
  }

  /** The row with these keys. */
  @Nullable Row row(Map<String, String> wanted) {
    return rows.stream().filter(row -> row.keys.equals(wanted)).findFirst().orElse(null);
  }

  /** What comes with the service, by name. */
  static Map<String, MeasuredResult> bundled() {
    Map<String, MeasuredResult> all = new TreeMap<>();
    try {
      for (Resource resource :
          new PathMatchingResourcePatternResolver().getResources("classpath:" + LOCATION + "*.yml")) {
        try (InputStream in = resource.getInputStream()) {
          String file = Objects.requireNonNull(resource.getFilename());
          String name = file.substring(0, file.length() - ".yml".length());
          all.put(name, read(name, new String(in.readAllBytes(), StandardCharsets.UTF_8)));
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + LOCATION, e);
    }
    return all;
  }

  /** Those of a directory, by name. */
  static Map<String, MeasuredResult> in(Path directory) {
    Map<String, MeasuredResult> all = new TreeMap<>();
    try (Stream<Path> files = Files.list(directory)) {
      files.filter(file -> file.toString().endsWith(".yml")).forEach(file -> {
        MeasuredResult result = read(file);
        all.put(result.name, result);
      });
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + directory, e);
    }
    return all;
  }

  static MeasuredResult read(Path file) {
    String name = file.getFileName().toString();
    try {
      return read(name.endsWith(".yml") ? name.substring(0, name.length() - 4) : name, Files.readString(file));
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + file, e);
    }
  }

  /** @throws IllegalArgumentException when something is missing or of another type */
  static MeasuredResult read(String name, String yaml) {
    try {
      Map<String, Object> root = new Yaml(new SafeConstructor(new LoaderOptions())).load(yaml);
      List<String> keys = new ArrayList<>();
      ((List<?>) need(root, "keys")).forEach(key -> keys.add(key.toString()));
      Map<String, String> data = new LinkedHashMap<>();
      ((Map<?, ?>) root.getOrDefault("data", Map.of())).forEach((k, v) -> data.put(k.toString(), v.toString()));
      Map<String, Double> tolerances = new LinkedHashMap<>();
      ((Map<?, ?>) root.getOrDefault("tolerances", Map.of()))
          .forEach((k, v) -> tolerances.put(k.toString(), ((Number) v).doubleValue()));
      List<Row> rows = new ArrayList<>();
      ((List<?>) need(root, "rows")).forEach(row -> rows.add(row(keys, (Map<?, ?>) row)));
      return new MeasuredResult(
          name,
          need(root, "title").toString(),
          need(root, "command").toString(),
          need(root, "commit").toString(),
          need(root, "date").toString(),
          need(root, "machine").toString(),
          text(root, "model"),
          text(root, "notes"),
          data,
          tolerances,
          List.copyOf(keys),
          List.copyOf(rows));
    } catch (ClassCastException | NullPointerException e) {
      throw new IllegalArgumentException("The result " + name + " is not of the form that this class describes", e);
    }
  }

  private static Object need(Map<String, Object> root, String field) {
    Object value = root.get(field);
    if (value == null) {
      throw new IllegalArgumentException("A result needs the field " + field);
    }
    return value;
  }

  private static @Nullable String text(Map<String, Object> root, String field) {
    Object value = root.get(field);
    return value == null ? null : value.toString().strip();
  }

  private static Row row(List<String> keys, Map<?, ?> columns) {
    Map<String, String> names = new LinkedHashMap<>();
    Map<String, Double> figures = new LinkedHashMap<>();
    columns.forEach(
        (column, value) -> {
          if (keys.contains(column.toString())) {
            names.put(column.toString(), value.toString());
          } else {
            figures.put(column.toString(), ((Number) value).doubleValue());
          }
        });
    return new Row(names, figures);
  }

  /** The YAML that {@link #read} understands, a row a line. */
  String yaml() {
    Map<String, Object> root = new LinkedHashMap<>();
    root.put("title", title);
    root.put("command", command);
    root.put("commit", commit);
    root.put("date", date);
    root.put("machine", machine);
    if (model != null) {
      root.put("model", model);
    }
    if (notes != null) {
      root.put("notes", notes);
    }
    root.put("data", data);
    root.put("tolerances", new TreeMap<>(tolerances));
    root.put("keys", keys);
    DumperOptions block = new DumperOptions();
    block.setDefaultFlowStyle(DumperOptions.FlowStyle.BLOCK);
    block.setWidth(118);
    DumperOptions flow = new DumperOptions();
    flow.setDefaultFlowStyle(DumperOptions.FlowStyle.FLOW);
    flow.setWidth(Integer.MAX_VALUE);
    Yaml line = new Yaml(flow);
    StringBuilder yaml = new StringBuilder(new Yaml(block).dump(root)).append("rows:\n");
    for (Row row : rows) {
      Map<String, Object> columns = new LinkedHashMap<>(row.keys);
      row.figures.forEach((measure, value) -> columns.put(measure, Measures.rounded(measure, value)));
      yaml.append("- ").append(line.dump(columns));
    }
    return yaml.toString();
  }
}
