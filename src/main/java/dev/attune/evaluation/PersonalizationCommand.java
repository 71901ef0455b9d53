package dev.attune.evaluation;

import dev.attune.entity.KnowledgeBase;
import dev.attune.entity.KnowledgeImport;
import dev.attune.evaluation.MeasuredResult.Row;
import dev.attune.evaluation.SimulatedLog.Moment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.search.SearchAnswer.Hit;
import dev.attune.search.SearchRequest;
import dev.attune.search.SearchRequest.Personalization;
import dev.attune.search.SearchRequest.RankingMode;
import dev.attune.search.Searcher;
import dev.attune.searchlog.SearchLog;
import java.io.PrintWriter;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.springframework.beans.factory.ObjectProvider;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** What a user's store does for the order of their search results. */
@Command(
    name = "personalization",
    description = "Plays the logs of the demo's simulated users and searches for some of their last queries without a user, "
        + "with their own store and with another user's: MRR of the film that they open next. Needs an empty data "
        + "directory (--attune.data-dir=DIRECTORY) and fills it.",
    mixinStandardHelpOptions = true)
class PersonalizationCommand implements Callable<Integer> {

  private static final List<String> KEYS = List.of("query", "store");
  private static final Map<String, Double> TOLERANCES = Map.of("mrr", 0.01, "relative", 2.0);
  private static final Duration UNHURRIED = Duration.ofMinutes(10);

  private final SearchLog log;
  private final Searcher searcher;
  private final DocumentIndex index;
  private final KnowledgeBase knowledge;
  private final KnowledgeImport imports;
  private final ObjectProvider<Models> models;

  @Spec private CommandSpec spec;
  @Mixin private RecordOption record;
  @Mixin private PlayOptions play;

  @Option(names = "--lists", defaultValue = "0",
      description = "Lists at most, spread evenly; 0 for all (default: ${DEFAULT-VALUE}).")
  private int most;

  @Option(names = "--candidates", defaultValue = "100", description = "Length of the lists (default: ${DEFAULT-VALUE}).")
  private int candidates;

  @Option(names = "--retrieval", defaultValue = "hybrid",
      description = "Whose candidates: bm25, dense, hybrid (default: ${DEFAULT-VALUE}).")
  private String retrieval;

  PersonalizationCommand(
      SearchLog log,
      Searcher searcher,
      DocumentIndex index,
      KnowledgeBase knowledge,
      KnowledgeImport imports,
      ObjectProvider<Models> models) {
    this.log = log;
    this.searcher = searcher;
    this.index = index;
    this.knowledge = knowledge;
    this.imports = imports;
    this.models = models;
  }

  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    DocumentIndex.Mode mode;
    try {
      mode = RankingSystem.mode(retrieval);
    } catch (IllegalArgumentException e) {
      throw new CommandLine.ParameterException(spec.commandLine(), String.valueOf(e.getMessage()), e);
    }
    String model = LoadedModel.find(models, ModelRole.RANKING).map(LanguageModel::fingerprint).orElse(null);
    if (model == null) {
      out.println("There is no model: retrieval and affinity alone");
    }
    SimulatedLog users = SimulatedLog.read();
    users.prepare(log, index, knowledge, imports, out);
    List<Integer> moments = users.moments(play.last(), most, false);
    // The whole query names what is wanted; its first word is what a user who is known would have to type.
    Map<String, Lists> kinds = new LinkedHashMap<>();
    kinds.put("as typed", new Lists());
    kinds.put("first word", new Lists());
    Progress progress = new Progress(out);
    progress.start("personalization", moments.size(), moments.size());
    users.play(
        log,
        moments,
        play.time(),
        moment -> {
          if (!moment.clicked().isEmpty()) {
            kinds.forEach((kind, lists) -> ask(moment, mode, kind.equals("first word"), lists));
          }
          progress.step();
        });
    List<Row> rows = new ArrayList<>();
    kinds.forEach((kind, lists) -> rows.addAll(rows(kind, lists)));
    out.print(ResultTable.markdown(KEYS, List.copyOf(rows.getLast().figures().keySet()), rows));
    out.flush();
    record.write(spec, "Personal ranking", model, Map.of(), TOLERANCES, KEYS, rows);
    return 0;
  }

  /** Reciprocal ranks by list. */
  private static final class Lists {
    final List<Double> none = new ArrayList<>();
    final List<Double> own = new ArrayList<>();
    final List<Double> other = new ArrayList<>();
  }

  private void ask(Moment moment, DocumentIndex.Mode mode, boolean firstWord, Lists lists) {
    String query = firstWord ? moment.query().strip().split("\\s+", 2)[0] : moment.query();
    if (firstWord && query.equals(moment.query().strip())) {
      return;
    }
    double none = reciprocalRank(query, mode, null, moment.clicked());
    if (none == 0) {
      // The film is not among the candidates: no order finds it.
      return;
    }
    lists.none.add(none);
    lists.own.add(reciprocalRank(query, mode, moment.user(), moment.clicked()));
    lists.other.add(reciprocalRank(query, mode, moment.stranger(), moment.clicked()));
  }

  private double reciprocalRank(
      String query, DocumentIndex.Mode mode, @Nullable String user, Set<String> wanted) {
    SearchRequest request =
        new SearchRequest(
            query, user, null, 0, SearchRequest.MAX_SIZE, candidates, mode, RankingMode.BLOCKRANK,
            user == null ? Personalization.OFF : Personalization.ON, Map.of(), List.of(), false, UNHURRIED, false);
    List<Hit> hits = searcher.search(request).hits();
    for (int i = 0; i < hits.size(); i++) {
      if (wanted.contains(hits.get(i).id())) {
        return 1.0 / (i + 1);
      }
    }
    return 0;
  }

  private static List<Row> rows(String kind, Lists lists) {
    double[] none = values(lists.none);
    List<Row> rows = new ArrayList<>();
    rows.add(row(kind, "none", none, none));
    rows.add(row(kind, "own", values(lists.own), none));
    rows.add(row(kind, "another user's", values(lists.other), none));
    return rows;
  }

  private static Row row(String kind, String store, double[] ranks, double[] none) {
    Map<String, String> keys = new LinkedHashMap<>();
    keys.put("query", kind);
    keys.put("store", store);
    Map<String, Double> figures = new LinkedHashMap<>();
    figures.put("lists", (double) ranks.length);
    figures.put("mrr", RankingEvaluation.mean(ranks));
    if (ranks != none && ranks.length > 0) {
      figures.put("relative", 100 * (RankingEvaluation.mean(ranks) / RankingEvaluation.mean(none) - 1));
      figures.put("p", Significance.pairedRandomisation(ranks, none));
    }
    return new Row(keys, figures);
  }

  private static double[] values(List<Double> list) {
    return list.stream().mapToDouble(Double::doubleValue).toArray();
  }
}
