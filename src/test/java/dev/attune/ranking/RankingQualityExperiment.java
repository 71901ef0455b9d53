package dev.attune.ranking;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.TestModel;
import dev.attune.ranking.RankFusion.Evidence;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.apache.lucene.analysis.en.EnglishAnalyzer;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.StoredField;
import org.apache.lucene.document.TextField;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.store.ByteBuffersDirectory;
import org.apache.lucene.util.QueryBuilder;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Measures how well the attention of each layer ranks, and which weight to give it beside BM25. Weights are chosen on
 * one half of the queries and reported on the other. Not a test: run its main method with
 * {@code <data directory> <scifact|cranfield|movies> <queries> <candidates>}.
 */
final class RankingQualityExperiment {

  private static final int FIRST_LAYER = 14;
  private static final int LAST_LAYER = 20;
  private static final double[] WEIGHTS = {0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1};

  private final LanguageModel model = TestModel.get();
  private final RankingProperties properties = RankingFixture.properties(Map.of());
  private final BlockPrompt prompt = new BlockPrompt(model.tokenizer(), properties);
  private final PrintStream out = System.out;

  private record Text(String title, String text) {}

  private record Collection(
      Map<String, Text> documents, Map<String, String> queries, Map<String, Map<String, Integer>> grades) {}

  /** One query's list; {@code mass} by name of the scorer. */
  private record Ranked(double[] bm25, int[] grades, double ideal, Map<String, double[]> mass) {}

  public static void main(String[] args) throws IOException {
    new RankingQualityExperiment()
        .run(Path.of(args[0], args[1]), args[1], Integer.parseInt(args[2]), Integer.parseInt(args[3]));
  }

  private void run(Path folder, String name, int limit, int candidates) throws IOException {
    Collection collection = name.equals("movies") ? movies(folder) : beir(folder);
    List<String> queries = new ArrayList<>(collection.queries.keySet());
    Collections.sort(queries);
    Collections.shuffle(queries, new Random(7));
    List<Ranked> lists = new ArrayList<>();
    try (ByteBuffersDirectory directory = new ByteBuffersDirectory()) {
      index(collection, directory);
      try (DirectoryReader reader = DirectoryReader.open(directory)) {
        IndexSearcher searcher = new IndexSearcher(reader);
        for (String query : queries) {
          if (lists.size() == limit) {
            break;
          }
          Map<String, Integer> grades = collection.grades.getOrDefault(query, Map.of());
          if (grades.values().stream().anyMatch(grade -> grade > 0)) {
            ScoreDoc[] hits = search(searcher, collection.queries.get(query), candidates);
            if (hits.length > 1) {
              lists.add(rank(collection, searcher, hits, collection.queries.get(query), grades));
            }
          }
        }
      }
    }
    report(name, candidates, lists);
  }

  private Ranked rank(
      Collection collection, IndexSearcher searcher, ScoreDoc[] hits, String query, Map<String, Integer> grades)
      throws IOException {
    List<String> ids = new ArrayList<>();
    for (ScoreDoc hit : hits) {
      ids.add(searcher.storedFields().document(hit.doc).get("id"));
    }
    InferenceBackend backend = model.backend();
    int[] instruction = prompt.instruction("");
    KvSegment first = Objects.requireNonNull(
        backend.run(List.of(pass(instruction, 0, List.of(), LAST_LAYER, true, null))).getFirst().kv());
    List<KvSegment> context = new ArrayList<>(List.of(first));
    List<Pass> reading = new ArrayList<>();
    for (String id : ids) {
      Text text = Objects.requireNonNull(collection.documents.get(id));
      reading.add(
          pass(prompt.document(text.title, text.text), instruction.length, List.of(first), LAST_LAYER, true, null));
    }
    backend.run(reading).forEach(result -> context.add(Objects.requireNonNull(result.kv())));
    Map<String, double[]> mass = new LinkedHashMap<>();
    for (int layer = FIRST_LAYER; layer <= LAST_LAYER; layer++) {
      double[] relevance = mass("query", layer, query, context);
      mass.put("layer " + layer + ", query", relevance);
      mass.put("layer " + layer + ", paper's signals", mass("query-end-and-answer", layer, query, context));
      double[] prior = mass("query", layer, "N/A", context);
      mass.put(
          "layer " + layer + ", query minus N/A",
          IntStream.range(0, prior.length).mapToDouble(i -> relevance[i] - prior[i]).toArray());
    }
    double[] bm25 = Arrays.stream(hits).mapToDouble(hit -> hit.score).toArray();
    int[] found = ids.stream().mapToInt(id -> Math.max(0, grades.getOrDefault(id, 0))).toArray();
    int[] ideal = grades.values().stream().mapToInt(g -> Math.max(0, g)).map(g -> -g).sorted().map(g -> -g).toArray();
    return new Ranked(bm25, found, dcg(ideal), mass);
  }

  private double[] mass(String signals, int layer, String query, List<KvSegment> context) {
    RankingProperties settings = RankingFixture.properties(Map.of("signals", signals));
    BlockPrompt.LastBlock last = new BlockPrompt(model.tokenizer(), settings).last(query, List.of());
    Probe probe = new Probe(last.signals(), IntStream.range(1, context.size()).toArray());
    float[] attention = model.backend()
        .run(List.of(pass(last.tokens(), properties.lastPosition(), context, layer, false, probe)))
        .getFirst()
        .attention();
    return IntStream.range(0, attention.length).mapToDouble(i -> attention[i]).toArray();
  }

  private static Pass pass(
      int[] tokens,
      int position,
      List<KvSegment> context,
      int layers,
      boolean keep,
      @Nullable Probe probe) {
    return new Pass(tokens, position, context, layers, keep, Logits.NONE, probe);
  }

  private void report(String name, int candidates, List<Ranked> lists) {
    List<Ranked> choose = IntStream.range(0, lists.size()).filter(i -> i % 2 == 0).mapToObj(lists::get).toList();
    List<Ranked> held = IntStream.range(0, lists.size()).filter(i -> i % 2 == 1).mapToObj(lists::get).toList();
    out.printf("%n%s: %d queries, BM25 top %d, nDCG@10; weights chosen on %d queries, reported on the other %d%n",
        name, lists.size(), candidates, choose.size(), held.size());
    out.printf("BM25 all %.4f, chosen on %.4f, held out %.4f%n",
        mean(lists, r -> ndcg(r, r.bm25)), mean(choose, r -> ndcg(r, r.bm25)), mean(held, r -> ndcg(r, r.bm25)));
    out.println("scorer | alone | best weight | chosen on | held out | all by weight " + Arrays.toString(WEIGHTS));
    for (String scorer : lists.getFirst().mass.keySet()) {
      double best = Arrays.stream(WEIGHTS)
          .boxed()
          .max(Comparator.comparingDouble(w -> mean(choose, r -> fused(r, scorer, w))))
          .orElse(0.0);
      StringBuilder all = new StringBuilder();
      for (double w : WEIGHTS) {
        all.append(" %.4f".formatted(mean(lists, r -> fused(r, scorer, w))));
      }
      out.printf("%s | %.4f | %.2f | %.4f | %.4f |%s%n", scorer,
          mean(lists, r -> ndcg(r, Objects.requireNonNull(r.mass.get(scorer)))), best,
          mean(choose, r -> fused(r, scorer, best)), mean(held, r -> fused(r, scorer, best)), all);
    }
  }

  private static double fused(Ranked ranked, String scorer, double weight) {
    double[] mass = Objects.requireNonNull(ranked.mass.get(scorer));
    double low = Math.min(0, Arrays.stream(mass).min().orElse(0));
    List<Evidence> evidence = IntStream.range(0, mass.length)
        .mapToObj(i -> new Evidence(ranked.bm25[i], mass[i] - low, 0))
        .toList();
    return ndcg(ranked, new RankFusion(weight, 0).fuse(evidence).scores());
  }

  private static double mean(List<Ranked> lists, ToDoubleFunction<Ranked> measure) {
    return lists.stream().mapToDouble(measure).average().orElse(Double.NaN);
  }

  private static double ndcg(Ranked ranked, double[] scores) {
    int[] order = IntStream.range(0, scores.length)
        .boxed()
        .sorted(Comparator.comparingDouble((Integer i) -> -scores[i]))
        .mapToInt(i -> ranked.grades[i])
        .toArray();
    return dcg(order) / ranked.ideal;
  }

  private static double dcg(int[] grades) {
    return IntStream.range(0, Math.min(10, grades.length))
        .mapToDouble(i -> (Math.pow(2, grades[i]) - 1) / (Math.log(i + 2) / Math.log(2)))
        .sum();
  }

  private static void index(Collection collection, ByteBuffersDirectory directory) throws IOException {
    try (IndexWriter writer = new IndexWriter(directory, new IndexWriterConfig(new EnglishAnalyzer()))) {
      for (Map.Entry<String, Text> entry : collection.documents.entrySet()) {
        Document document = new Document();
        document.add(new StoredField("id", entry.getKey()));
        document.add(new TextField("text", entry.getValue().title + "\n" + entry.getValue().text, Field.Store.NO));
        writer.addDocument(document);
      }
    }
  }

  private static ScoreDoc[] search(IndexSearcher searcher, @Nullable String query, int n)
      throws IOException {
    var parsed = new QueryBuilder(new EnglishAnalyzer()).createBooleanQuery("text", Objects.requireNonNull(query));
    return parsed == null ? new ScoreDoc[0] : searcher.search(parsed, n).scoreDocs;
  }

  private static Collection beir(Path folder) throws IOException {
    Map<String, Text> documents = new HashMap<>();
    for (JsonNode d : lines(folder.resolve("corpus.jsonl.gz"))) {
      String title = d.path("title").asString();
      String text = d.path("text").asString();
      documents.put(d.path("_id").asString(),
          new Text(title, text.startsWith(title) ? text.substring(title.length()) : text));
    }
    Map<String, String> queries = new HashMap<>();
    Map<String, Map<String, Integer>> grades = new HashMap<>();
    try (Stream<Path> files = Stream.concat(Files.list(folder), Files.list(folder.resolve("qrels")))) {
      for (Path file : files.toList()) {
        if (file.getFileName().toString().contains("queries")) {
          for (JsonNode q : lines(file)) {
            queries.put(q.path("_id").asString(), q.path("text").asString());
          }
        } else if (file.toString().endsWith(".tsv")) {
          for (String line : Files.readAllLines(file)) {
            grade(grades, line.split("\t"), 0, 1, 2);
          }
        }
      }
    }
    return new Collection(documents, queries, grades);
  }

  private static Collection movies(Path folder) throws IOException {
    Map<String, Text> documents = new HashMap<>();
    for (JsonNode d : lines(folder.resolve("corpus.jsonl.gz"))) {
      List<String> actors = new ArrayList<>();
      d.path("actors").forEach(actor -> actors.add(actor.asString()));
      documents.put(d.path("id").asString(), new Text(d.path("title").asString(),
          d.path("overview").asString() + " Director: " + d.path("director").asString() + ". Cast: "
              + String.join(", ", actors.subList(0, Math.min(6, actors.size()))) + "."));
    }
    Map<String, String> queries = new HashMap<>();
    Map<String, Map<String, Integer>> grades = new HashMap<>();
    try (BufferedReader reader = reader(folder.resolve("judgments.tsv.gz"))) {
      for (String line : reader.lines().skip(1).toList()) {
        String[] fields = line.split("\t");
        queries.put(fields[0], fields[1]);
        grade(grades, fields, 0, 2, 3);
      }
    }
    return new Collection(documents, queries, grades);
  }

  private static void grade(
      Map<String, Map<String, Integer>> grades, String[] fields, int query, int document, int grade) {
    if (fields.length > grade && fields[grade].matches("-?\\d+")) {
      Map<String, Integer> ofQuery = grades.computeIfAbsent(fields[query], _ -> new HashMap<>());
      ofQuery.put(fields[document], Integer.parseInt(fields[grade]));
    }
  }

  private static List<JsonNode> lines(Path file) throws IOException {
    JsonMapper json = new JsonMapper();
    try (BufferedReader reader = reader(file)) {
      return reader.lines().map(json::readTree).toList();
    }
  }

  private static BufferedReader reader(Path file) throws IOException {
    return new BufferedReader(
        new InputStreamReader(new GZIPInputStream(Files.newInputStream(file)), StandardCharsets.UTF_8));
  }
}
