package dev.attune.evaluation;

import dev.attune.ranking.PromptTokens;
import dev.attune.ranking.Ranker;
import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.ranking.Ranker.RankRequest;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.DocumentIndex.Candidate;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.zip.GZIPOutputStream;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * Writes lists of candidates for training, one JSON object a line: first a {@code header} (tokens of the instruction
 * block, positions, layer, share of kept tokens), then each {@code document} (tokens of its block, and which are kept
 * where that is not all) before the first {@code list} that names it. A candidate is
 * {@code [document id, rank or 0, score, BM25 or null, cosine or null, grade]}; relevant documents that retrieval did
 * not find have rank 0 and are in lists for training only.
 */
final class ListExport {

  /** No query is given up for time. */
  private static final Duration UNHURRIED = Duration.ofHours(1);

  private static final JsonMapper MAPPER = JsonMapper.builder().build();

  private final Dataset dataset;
  private final DocumentIndex index;
  private final Mode mode;
  private final int candidates;
  private final PromptTokens prompt;
  private final @Nullable Ranker ranker;

  /**
   * Prepares an export.
   *
   * @param ranker whose masses are written beside the candidates, null for none
   */
  ListExport(
      Dataset dataset, DocumentIndex index, Mode mode, int candidates, PromptTokens prompt, @Nullable Ranker ranker) {
    this.dataset = dataset;
    this.index = index;
    this.mode = mode;
    this.candidates = candidates;
    this.prompt = prompt;
    this.ranker = ranker;
  }

  /**
   * Writes the lists of a part and returns their number.
   *
   * @param allDocuments whether to write the documents that are in no list too
   */
  int write(Split split, boolean allDocuments, Path file) {
    int lists = 0;
    Set<String> written = new HashSet<>();
    try (Writer out =
        new BufferedWriter(
            new OutputStreamWriter(new GZIPOutputStream(Files.newOutputStream(file)), StandardCharsets.UTF_8))) {
      line(out, header(split));
      if (allDocuments) {
        index.forEach(document -> document(out, document, written));
      }
      for (Dataset.Query query : dataset.queries()) {
        if (split.holds(query.id())) {
          write(out, query, split == Split.TRAIN, written);
          lists++;
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot write " + file, e);
    }
    return lists;
  }

  private ObjectNode header(Split split) {
    ObjectNode header = MAPPER.createObjectNode().put("kind", "header").put("dataset", dataset.name());
    header.put("fingerprint", dataset.fingerprint()).put("split", split.name().toLowerCase(Locale.ROOT));
    header.put("layer", prompt.layer()).put("lastPosition", prompt.lastPosition());
    header.put("keptShare", prompt.keptShare());
    header.set("instruction", array(prompt.instruction()));
    return header;
  }

  private void write(Writer out, Dataset.Query query, boolean addMissed, Set<String> written) {
    Map<String, Integer> grades = new HashMap<>(dataset.judgments().getOrDefault(query.id(), Map.of()));
    PromptTokens.Last last = prompt.last(query.text(), List.of());
    ObjectNode list = MAPPER.createObjectNode().put("kind", "list").put("id", query.id()).put("query", query.text());
    list.set("tokens", array(last.tokens()));
    list.set("signals", array(last.signals()));
    ArrayNode rows = list.putArray("candidates");
    List<Candidate> found =
        index.search(new RetrievalRequest(query.text(), mode, candidates, Map.of(), List.of())).candidates();
    if (ranker != null) {
      ArrayNode masses = list.putArray("masses");
      for (double mass : masses(ranker, query.text(), found)) {
        masses.add(mass);
      }
    }
    for (Candidate candidate : found) {
      document(out, candidate.document(), written);
      Integer grade = grades.remove(candidate.document().id());
      row(rows, candidate.document().id(), candidate.rank(), candidate.score(), candidate.lexical(),
          candidate.dense(), grade == null ? 0 : grade);
    }
    if (addMissed) {
      List<String> missed =
          grades.entrySet().stream().filter(e -> e.getValue() > 0).map(Map.Entry::getKey).sorted().toList();
      for (Document document : index.findAll(missed)) {
        document(out, document, written);
        row(rows, document.id(), 0, 0, null, null, grades.get(document.id()));
      }
    } else {
      list.put("missed", grades.values().stream().filter(grade -> grade > 0).count());
      list.set("ideal", ideal(query));
    }
    line(out, list);
  }

  private static double[] masses(Ranker ranker, String query, List<Candidate> candidates) {
    List<RankCandidate> texts =
        candidates.stream()
            .map(c -> new RankCandidate(c.document().id(), c.document().title(), c.document().text()))
            .toList();
    Ranker.Ranking ranking = ranker.rank(new RankRequest(query, texts, List.of(), UNHURRIED));
    if ("model".equals(ranking.degraded())) {
      throw new IllegalStateException("BlockRank cannot be evaluated without a language model; set attune.llm.model");
    }
    return ranking.scores();
  }

  /** The highest grades of the query, also of documents that were not found: what nDCG is measured against. */
  private ArrayNode ideal(Dataset.Query query) {
    ArrayNode ideal = MAPPER.createArrayNode();
    dataset.judgments().getOrDefault(query.id(), Map.of()).values().stream()
        .filter(grade -> grade > 0)
        .sorted((a, b) -> Integer.compare(b, a))
        .limit(RankingEvaluation.NDCG_DEPTH)
        .forEach(ideal::add);
    return ideal;
  }

  private void document(Writer out, Document document, Set<String> written) {
    if (written.add(document.id())) {
      ObjectNode node = MAPPER.createObjectNode().put("kind", "document").put("id", document.id());
      node.put("title", document.title()).put("text", document.text());
      int[] tokens = prompt.document(document.title(), document.text());
      node.set("tokens", array(tokens));
      if (prompt.keptShare() < 1) {
        node.set("kept", array(prompt.kept(tokens, prompt.keptShare())));
      }
      line(out, node);
    }
  }

  private static void row(
      ArrayNode rows, String id, int rank, double score, @Nullable Double lexical, @Nullable Double dense, int grade) {
    rows.addArray().add(id).add(rank).add(score).add(lexical).add(dense).add(grade);
  }

  private static ArrayNode array(int[] values) {
    ArrayNode array = MAPPER.createArrayNode();
    for (int value : values) {
      array.add(value);
    }
    return array;
  }

  private static void line(Writer out, ObjectNode node) {
    try {
      out.write(MAPPER.writeValueAsString(node));
      out.write('\n');
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
