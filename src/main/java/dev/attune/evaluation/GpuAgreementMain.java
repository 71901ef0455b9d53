package dev.attune.evaluation;

import dev.attune.llm.GpuAgreement;
import dev.attune.llm.GpuAgreement.Lists;
import dev.attune.llm.GpuAgreement.RankedList;
import dev.attune.llm.GpuAgreement.Variant;
import dev.attune.llm.GpuLoad;
import dev.attune.llm.kv.KvCodec;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.zip.GZIPInputStream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Compares the GPU's ranking of real lists with the CPU's, without the service: lists are those that {@code evaluate
 * export} writes.
 *
 * <pre>
 * scores cpu|cuda[-bf16][-fp8] MODEL ADAPTER LISTS OUT LISTS_AT_MOST CANDIDATES POLICY CODEC|- EVERY THREADS
 * compare A B LISTS
 * load MODEL ADAPTER LISTS LISTS_AT_MOST CANDIDATES MOVED
 * </pre>
 *
 * {@code compare} takes A for the reference, {@code load} measures speed under load, moving the documents of the first
 * lists about.
 */
final class GpuAgreementMain {

  private static final JsonMapper MAPPER = JsonMapper.builder().build();
  private static final int TOP = 10;

  private GpuAgreementMain() {}

  /** See above. */
  public static void main(String[] args) throws IOException {
    PrintWriter out = new PrintWriter(System.out, true);
    if (args[0].equals("compare")) {
      compare(out, read(Path.of(args[1])), read(Path.of(args[2])), grades(Path.of(args[3])));
      return;
    }
    if (args[0].equals("load")) {
      GpuLoad.run(out, Path.of(args[1]), Path.of(args[2]),
          lists(Path.of(args[3]), Integer.parseInt(args[4]), Integer.parseInt(args[5])), Integer.parseInt(args[6]));
      return;
    }
    Lists lists = lists(Path.of(args[4]), Integer.parseInt(args[6]), Integer.parseInt(args[7]));
    KvCodec codec = args[9].equals("-") ? null : KvCodec.valueOf(args[9].toUpperCase(Locale.ROOT));
    long start = System.nanoTime();
    List<float[]> scores = GpuAgreement.scores(Path.of(args[2]), Path.of(args[3]), lists,
        new Variant(args[1], args[8], codec, Integer.parseInt(args[10]), Integer.parseInt(args[11])));
    Files.write(Path.of(args[5]), scores.stream().map(Arrays::toString).toList());
    out.printf(Locale.ROOT, "%s: %d lists in %.1f s%n", args[1], scores.size(), (System.nanoTime() - start) / 1e9);
  }

  private static Lists lists(Path file, int most, int candidates) throws IOException {
    Map<String, int[]> documents = new HashMap<>();
    List<RankedList> lists = new ArrayList<>();
    JsonNode header = null;
    try (BufferedReader in = reader(file)) {
      for (String line = in.readLine(); line != null && lists.size() < most; line = in.readLine()) {
        JsonNode node = MAPPER.readTree(line);
        switch (node.get("kind").asString()) {
          case "header" -> header = node;
          case "document" -> documents.put(node.get("id").asString(), ints(node.get("tokens")));
          default -> {
            List<String> ids = new ArrayList<>();
            node.get("candidates").forEach(row -> ids.add(row.get(0).asString()));
            lists.add(new RankedList(ints(node.get("tokens")), ints(node.get("signals")),
                List.copyOf(ids.subList(0, Math.min(candidates, ids.size())))));
          }
        }
      }
    }
    if (header == null) {
      throw new IOException(file + " has no header");
    }
    return new Lists(header.get("layer").asInt(), header.get("lastPosition").asInt(), ints(header.get("instruction")),
        documents, lists);
  }

  private static int[] ints(JsonNode array) {
    return IntStream.range(0, array.size()).map(i -> array.get(i).asInt()).toArray();
  }

  private static List<float[]> read(Path file) throws IOException {
    List<float[]> scores = new ArrayList<>();
    for (String line : Files.readAllLines(file)) {
      String[] parts = line.substring(1, line.length() - 1).split(", ");
      float[] list = new float[parts.length];
      for (int i = 0; i < list.length; i++) {
        list[i] = Float.parseFloat(parts[i]);
      }
      scores.add(list);
    }
    return scores;
  }

  /**
   * Judgments of a list.
   *
   * @param ofCandidates in their order
   * @param ideal the highest of the query
   */
  private record Grades(int[] ofCandidates, int[] ideal) {

    double ndcg(int[] ranked) {
      double gain = 0;
      double most = 0;
      for (int i = 0; i < TOP; i++) {
        gain += i < ranked.length ? ofCandidates[ranked[i]] / log2(i + 2) : 0;
        most += i < ideal.length ? ideal[i] / log2(i + 2) : 0;
      }
      return most == 0 ? 0 : gain / most;
    }

    private static double log2(double x) {
      return Math.log(x) / Math.log(2);
    }
  }

  private static List<Grades> grades(Path file) throws IOException {
    List<Grades> grades = new ArrayList<>();
    try (BufferedReader in = reader(file)) {
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        JsonNode node = MAPPER.readTree(line);
        if (node.get("kind").asString().equals("list")) {
          JsonNode rows = node.get("candidates");
          grades.add(new Grades(IntStream.range(0, rows.size()).map(i -> rows.get(i).get(5).asInt()).toArray(),
              ints(node.get("ideal"))));
        }
      }
    }
    return grades;
  }

  private static BufferedReader reader(Path file) throws IOException {
    return new BufferedReader(
        new InputStreamReader(new GZIPInputStream(Files.newInputStream(file)), StandardCharsets.UTF_8));
  }

  /** The 95th percentile of relative differences of candidates that one of both has among its first twenty. */
  private static double usualError(List<float[]> a, List<float[]> b) {
    List<Double> errors = new ArrayList<>();
    for (int i = 0; i < Math.min(a.size(), b.size()); i++) {
      HashSet<Integer> high = new HashSet<>(Arrays.stream(top(a.get(i), 2 * TOP)).boxed().toList());
      high.addAll(Arrays.stream(top(b.get(i), 2 * TOP)).boxed().toList());
      for (int j : high) {
        errors.add((double) Math.abs(a.get(i)[j] - b.get(i)[j]) / a.get(i)[j]);
      }
    }
    double[] sorted = errors.stream().mapToDouble(Double::doubleValue).sorted().toArray();
    return sorted[(int) (0.95 * sorted.length)];
  }

  /** Whether each that b has instead of another scores less than so much below it in a. */
  private static boolean tied(float[] a, int[] x, int[] y, double error) {
    HashSet<Integer> out = new HashSet<>(Arrays.stream(x).boxed().toList());
    out.removeAll(Arrays.stream(y).boxed().toList());
    HashSet<Integer> in = new HashSet<>(Arrays.stream(y).boxed().toList());
    in.removeAll(Arrays.stream(x).boxed().toList());
    return out.stream().allMatch(i -> in.stream().allMatch(j -> a[i] - a[j] < error * a[i]));
  }

  private static void compare(PrintWriter out, List<float[]> a, List<float[]> b, List<Grades> grades) {
    int lists = Math.min(a.size(), b.size());
    int order = 0;
    int set = 0;
    int members = 0;
    int places = 0;
    int first = 0;
    double variation = 0;
    double relative = 0;
    double error = usualError(a, b);
    int within = 0;
    double[] ndcg = new double[2];
    for (int i = 0; i < lists; i++) {
      int[] x = top(a.get(i));
      int[] y = top(b.get(i));
      order += Arrays.equals(x, y) ? 1 : 0;
      first += x[0] == y[0] ? 1 : 0;
      HashSet<Integer> common = new HashSet<>(Arrays.stream(x).boxed().toList());
      common.retainAll(Arrays.stream(y).boxed().toList());
      members += common.size();
      set += common.size() == x.length ? 1 : 0;
      within += tied(a.get(i), x, y, error) ? 1 : 0;
      ndcg[0] += grades.get(i).ndcg(x) / lists;
      ndcg[1] += grades.get(i).ndcg(y) / lists;
      for (int j = 0; j < x.length; j++) {
        places += x[j] == y[j] ? 1 : 0;
      }
      double difference = 0;
      for (int j = 0; j < a.get(i).length; j++) {
        difference += Math.abs(a.get(i)[j] - b.get(i)[j]) / 2;
        relative = Math.max(relative, Math.abs(a.get(i)[j] - b.get(i)[j]) / a.get(i)[j]);
      }
      variation += difference / lists;
    }
    out.printf(Locale.ROOT, "%d lists: same first %d, same top 10 in order %d, same ten documents %d; of ten documents "
        + "%.2f are the same and %.2f at the same place; total variation %.5f, largest relative difference %.4f%n",
        lists, first, order, set, (double) members / lists, (double) places / lists, variation, relative);
    out.printf(Locale.ROOT,
        "usual error of a score %.4f of it: same ten but for candidates that are nearer to each other %d; "
        + "nDCG@10 by these scores alone %.4f and %.4f%n", error, within, ndcg[0], ndcg[1]);
  }

  private static int[] top(float[] scores) {
    return top(scores, TOP);
  }

  private static int[] top(float[] scores, int count) {
    return IntStream.range(0, scores.length).boxed().sorted((i, j) -> Float.compare(scores[j], scores[i]))
        .limit(count).mapToInt(i -> i).toArray();
  }
}
