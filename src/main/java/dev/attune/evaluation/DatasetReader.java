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
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.GZIPInputStream;
import org.apache.commons.codec.digest.DigestUtils;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Reads test collections from a directory: BEIR layout ({@code corpus.jsonl}, {@code queries.jsonl},
 * {@code qrels/*.tsv}; each file plain or with {@code .gz}) and the movie judgments ({@code movies/judgments.tsv}).
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

  /**
   * Reads a folder in BEIR's layout; its name is that of the collection.
   *
   * @param qrels judgments of BEIR or TREC; null for those of the folder's test, dev or train part, the first that
   *     there is
   * @param queries how many queries at most, 0 for all; a sample is the same in every run
   * @throws IllegalArgumentException when a file is missing or not of the layout; the message names it
   */
  Dataset folder(Path folder, @Nullable Path qrels, int queries) {
    Path absolute = folder.toAbsolutePath().normalize();
    DatasetReader reader = new DatasetReader(absolute.getParent());
    String name = absolute.getFileName().toString();
    Path judgments =
        qrels != null
            ? qrels
            : Stream.of("test.tsv", "test.tsv.gz", "dev.tsv", "dev.tsv.gz", "train.tsv", "train.tsv.gz")
                .map(file -> absolute.resolve("qrels").resolve(file))
                .filter(Files::exists)
                .findFirst()
                .orElseThrow(
                    () -> new IllegalArgumentException(
                        absolute.resolve("qrels")
                            + " holds no test.tsv, dev.tsv or train.tsv; name judgments with --qrels"));
    return reader.beir(name, reader.file(name, "queries.jsonl"), judgments, queries);
  }

  private Dataset beir(String name, String queryFile, String judgmentFile, int limit) {
    file(name, "corpus.jsonl");
    return beir(name, file(name, queryFile), file(name, judgmentFile), limit);
  }

  private Dataset beir(String name, Path queryFile, Path judgmentFile, int limit) {
    Path corpus = file(name, "corpus.jsonl");
    Map<String, Map<String, Integer>> judgments = TrecFiles.qrels(judgmentFile);
    List<Dataset.Query> queries = new ArrayList<>();
    forEachLine(
        queryFile,
        line -> {
          JsonNode query = json(queryFile, line);
          queries.add(new Dataset.Query(query.path("_id").asString(), query.path("text").asString("")));
        });
    return new Dataset(
        name,
        fingerprint(corpus),
        hash(corpus, queryFile, judgmentFile),
        () -> lines(corpus).filter(line -> !line.isBlank()).map(line -> document(json(corpus, line))),
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
        hash(file("movies", "judgments.tsv")),
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

  private static JsonNode json(Path file, String line) {
    try {
      JsonNode node = MAPPER.readTree(line);
      if (!node.path("_id").isValueNode()) {
        throw new IllegalArgumentException(file + ": there is no _id in " + shortened(line));
      }
      return node;
    } catch (JacksonException e) {
      throw new IllegalArgumentException(file + ": this is not JSON: " + shortened(line), e);
    }
  }

  private static String shortened(String line) {
    return line.length() <= 80 ? line : line.substring(0, 80) + "…";
  }

  private static Document document(JsonNode node) {
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

  /** SHA-256 of the files, the first 16 hexadecimal digits. */
  static String hash(Path... files) {
    try {
      MessageDigest digest = DigestUtils.getSha256Digest();
      for (Path file : files) {
        digest.update(Files.readAllBytes(file));
      }
      return HexFormat.of().formatHex(digest.digest()).substring(0, 16);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void forEachLine(Path file, java.util.function.Consumer<String> consumer) {
    try (Stream<String> lines = lines(file)) {
      lines.filter(line -> !line.isBlank()).forEach(consumer);
    }
  }

  static Stream<String> lines(Path file) {
    try {
      if (!Files.exists(file)) {
        throw new IllegalArgumentException("There is no file " + file);
      }
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
