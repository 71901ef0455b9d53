package dev.attune.evaluation;

import dev.attune.entity.EntityLinker;
import dev.attune.entity.KnowledgeBase;
import dev.attune.entity.KnowledgeImport;
import dev.attune.evaluation.MeasuredResult.Row;
import dev.attune.evaluation.SuggestionEvaluation.Arm;
import dev.attune.evaluation.SuggestionEvaluation.Outcome;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.searchlog.SearchLog;
import dev.attune.suggestion.SuggestionLadder;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.springframework.beans.factory.ObjectProvider;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Quality of suggestions. */
@Command(
    name = "suggestions",
    description = "Plays the logs of the demo's simulated users and asks for suggestions before some of their last queries, "
        + "told the query, the session, the raw history, the entity store, and with the back-off; and with another user's "
        + "store. Needs an empty data directory (--attune.data-dir=DIRECTORY) and fills it.",
    mixinStandardHelpOptions = true)
class SuggestionsCommand implements Callable<Integer> {

  private static final List<String> KEYS = List.of("told");
  private static final Map<String, Double> TOLERANCES = Map.of("entity5", 0.08, "success5", 0.05, "valid", 0.03);

  private final SearchLog log;
  private final SuggestionLadder suggester;
  private final DocumentIndex index;
  private final EntityLinker linker;
  private final KnowledgeBase knowledge;
  private final KnowledgeImport imports;
  private final ObjectProvider<Models> models;

  @Spec private CommandSpec spec;
  @Mixin private RecordOption record;
  @Mixin private PlayOptions play;

  @Option(names = "--requests", defaultValue = "0",
      description = "Requests at most, spread evenly; 0 for all (default: ${DEFAULT-VALUE}).")
  private int requests;

  @Option(names = "--told", split = ",", defaultValue = "query,session,history,store,back-off,other-user",
      description = "Rungs to ask on, the raw history always among them (default: ${DEFAULT-VALUE}).")
  private Set<Arm> told = Set.of();

  SuggestionsCommand(
      SearchLog log,
      SuggestionLadder suggester,
      DocumentIndex index,
      EntityLinker linker,
      KnowledgeBase knowledge,
      KnowledgeImport imports,
      ObjectProvider<Models> models) {
    this.log = log;
    this.suggester = suggester;
    this.index = index;
    this.linker = linker;
    this.knowledge = knowledge;
    this.imports = imports;
    this.models = models;
  }

  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    LanguageModel model = LoadedModel.await(models, ModelRole.SUGGESTION);
    SimulatedLog users = SimulatedLog.read();
    users.prepare(log, index, knowledge, imports, out);
    List<Integer> moments = users.moments(play.last(), requests, true);
    Set<Arm> arms = EnumSet.of(Arm.HISTORY);
    arms.addAll(told);
    SuggestionEvaluation evaluation = new SuggestionEvaluation(suggester, index, linker, arms);
    Progress progress = new Progress(out);
    progress.start("suggestions", moments.size(), moments.size());
    users.play(
        log,
        moments,
        play.time(),
        moment -> {
          evaluation.ask(moment);
          progress.step();
        });
    List<Row> rows = rows(evaluation, arms);
    out.print(ResultTable.markdown(KEYS, List.copyOf(rows.getLast().figures().keySet()), rows));
    out.flush();
    record.write(spec, "Suggestions", model.fingerprint(), Map.of(), TOLERANCES, KEYS, rows);
    return 0;
  }

  /** Differences are of the entity-level match, against the raw history. */
  private static List<Row> rows(SuggestionEvaluation evaluation, Set<Arm> arms) {
    List<Row> rows = new ArrayList<>();
    double[] history = evaluation.values(Arm.HISTORY, Outcome::entityMatch);
    for (Arm arm : arms) {
      double[] matches = evaluation.values(arm, Outcome::entityMatch);
      double suggested = sum(evaluation.values(arm, Outcome::suggested));
      Map<String, Double> figures = new LinkedHashMap<>();
      figures.put("requests", (double) evaluation.of(arm).size());
      figures.put("mrr5", RankingEvaluation.mean(evaluation.values(arm, Outcome::reciprocalRank)));
      figures.put("success5", RankingEvaluation.mean(evaluation.values(arm, o -> o.reciprocalRank() > 0 ? 1 : 0)));
      figures.put("entity5", RankingEvaluation.mean(matches));
      if (arm != Arm.HISTORY) {
        figures.put("difference", RankingEvaluation.mean(matches) - RankingEvaluation.mean(history));
        figures.put("p", Significance.pairedRandomisation(matches, history));
      }
      figures.put("valid", suggested == 0 ? 0 : sum(evaluation.values(arm, Outcome::valid)) / suggested);
      figures.put("distinct", suggested == 0 ? 0 : sum(evaluation.values(arm, Outcome::distinct)) / suggested);
      figures.put("suggestions", suggested / Math.max(1, evaluation.of(arm).size()));
      figures.put("ms", RankingEvaluation.median(evaluation.values(arm, Outcome::millis)));
      rows.add(new Row(Map.of("told", arm.title), figures));
    }
    return rows;
  }

  private static double sum(double[] values) {
    double sum = 0;
    for (double value : values) {
      sum += value;
    }
    return sum;
  }
}
