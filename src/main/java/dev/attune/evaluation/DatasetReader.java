package dev.attune.evaluation;

import dev.attune.demo.MovieCorpus;
import dev.attune.retrieval.Document;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.GZIPInputStream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Reads test collections from a directory: BEIR layout ({@code corpus.jsonl}, {@code queries.jsonl}, {@code qrels/*.tsv};
 * each file plain or with {@code .gz}) and the movie judgments ({@code movies/judgments.tsv}).
 */
final class DatasetReader {

  static final List<String> NAMES = List.of("scifact", "cranfield", "npl", "movies");

  private static final long SAMPLE_SEED = 7;
  private static final JsonMapper MAPPER = JsonMapper.builder().build();

  private final Path data;

  DatasetReader(Path data) {
    this.data = data;
  }

  /**
   * Reads a collection.
   *
   * @param queries how many queries at most, 0 for all; a sample is the same in every run
   * @throws IllegalArgumentException when the name is unknown or a file is missing; the message says where it belongs
   */
  Dataset read(String name, int queries) {
    return switch (name) {
      case "cranfield", "npl" -> beir(name, "queries.jsonl", "qrels/test.tsv", queries);
      case "scifact" -> beir(name, "train-queries.jsonl", "qrels/train-evidence.tsv", queries);
      case "movies" -> movies(queries);
      default -> {
        if (!Files.isDirectory(data.resolve(name))) {
          throw new IllegalArgumentException(
              "There is no dataset '" + name + "'; there are " + String.join(", ", NAMES)
                  + " and the directories of " + data.toAbsolutePath().normalize());
        }
        yield beir(name, "queries.jsonl", judgments(name), queries);
      }
    };
  }

  /** BEIR names files of judgments by their part; the train part is for training, where there is one. */
  private String judgments(String name) {
    return Stream.of("qrels/train.tsv", "qrels/train.tsv.gz").anyMatch(f -> Files.exists(data.resolve(name).resolve(f)))
        ? "qrels/train.tsv"
        : "qrels/test.tsv";
  }

  private Dataset beir(String name, String queryFile, String judgmentFile, int limit) {
    Path corpus = file(name, "corpus.jsonl");
    Map<String, Map<String, Integer>> judgments = new HashMap<>();
    forEachLine(
        file(name, judgmentFile),
        line -> {
          String[] columns = line.split("\t");
          if (columns.length >= 3 && !columns[0].equals("query-id")) {
            judgments
                .computeIfAbsent(columns[0], key -> new HashMap<>())
                .put(columns[1], Integer.parseInt(columns[2].strip()));
          }
        });
    List<Dataset.Query> queries = new ArrayList<>();
    forEachLine(
        file(name, queryFile),
        line -> {
          JsonNode query = MAPPER.readTree(line);
          queries.add(new Dataset.Query(query.path("_id").asString(), query.path("text").asString()));
        });
    return new Dataset(
        name,
        fingerprint(corpus),
        () -> lines(corpus).filter(line -> !line.isBlank()).map(DatasetReader::document),
        sample(judged(queries, judgments), limit),
        judgments);
  }

  private Dataset movies(int limit) {
    Map<String, Map<String, Integer>> judgments = new HashMap<>();
    Map<String, String> texts = new LinkedHashMap<>();
    forEachLine(
        file("movies", "judgments.tsv"),
        line -> {
          String[] columns = line.split("\t");
          if (columns.length == 4 && !columns[0].equals("query_id")) {
            texts.putIfAbsent(columns[0], columns[1]);
            judgments
                .computeIfAbsent(columns[0], key -> new HashMap<>())
                .put(columns[2], Integer.parseInt(columns[3].strip()));
          }
        });
    List<Dataset.Query> queries = new ArrayList<>();
    texts.forEach((id, text) -> queries.add(new Dataset.Query(id, text)));
    return new Dataset(
        "movies",
        "shipped-2",
        MovieCorpus::read,
        sample(judged(queries, judgments), limit),
        judgments);
  }

  /** Queries that some document answers; the others say nothing about an order. */
  private static List<Dataset.Query> judged(
      List<Dataset.Query> queries, Map<String, Map<String, Integer>> judgments) {
    return queries.stream()
        .filter(query -> judgments.getOrDefault(query.id(), Map.of()).values().stream().anyMatch(grade -> grade > 0))
        .toList();
  }

  private static List<Dataset.Query> sample(List<Dataset.Query> queries, int limit) {
    if (limit <= 0 || limit >= queries.size()) {
      return queries;
    }
    List<Dataset.Query> shuffled = new ArrayList<>(queries);
    Collections.shuffle(shuffled, new Random(SAMPLE_SEED));
    return List.copyOf(shuffled.subList(0, limit));
  }

  private static Document document(String line) {
    JsonNode node = MAPPER.readTree(line);
    return new Document(
        node.path("_id").asString(),
        node.path("title").asString(""),
        node.path("text").asString(""),
        null,
        null,
        Map.of());
  }

  private Path file(String dataset, String name) {
    Path plain = data.resolve(dataset).resolve(name);
    Path zipped = plain.resolveSibling(plain.getFileName() + ".gz");
    if (Files.exists(plain)) {
      return plain;
    }
    if (Files.exists(zipped)) {
      return zipped;
    }
    throw new IllegalArgumentException(
        "The dataset " + dataset + " needs " + plain.toAbsolutePath().normalize()
            + " (or the same with .gz); name another directory with --data");
  }

  private static String fingerprint(Path file) {
    CRC32 checksum = new CRC32();
    try (InputStream in = Files.newInputStream(file)) {
      byte[] buffer = new byte[1 << 16];
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        checksum.update(buffer, 0, n);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return Long.toHexString(checksum.getValue());
  }

  private static void forEachLine(Path file, java.util.function.Consumer<String> consumer) {
    try (Stream<String> lines = lines(file)) {
      lines.filter(line -> !line.isBlank()).forEach(consumer);
    }
  }

  static Stream<String> lines(Path file) {
    try {
      InputStream in = Files.newInputStream(file);
      BufferedReader reader =
          new BufferedReader(
              new InputStreamReader(
                  file.toString().endsWith(".gz") ? new GZIPInputStream(in) : in, StandardCharsets.UTF_8));
      return reader.lines().onClose(() -> close(reader));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void close(BufferedReader reader) {
    try {
      reader.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
