package dev.attune.evaluation;

import dev.attune.entity.EntityLinker;
import dev.attune.entity.KnowledgeBase;
import dev.attune.entity.KnowledgeImport;
import dev.attune.entity.NameFinder;
import dev.attune.evaluation.LinkedTexts.LinkedText;
import dev.attune.evaluation.LinkingEvaluation.Score;
import dev.attune.evaluation.LinkingEvaluation.Wanted;
import dev.attune.evaluation.MeasuredResult.Row;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Quality and speed of entity linking. */
@Command(
    name = "linking",
    description = "Links texts whose entities people have marked, beside commonness alone: candidate recall, "
        + "precision, recall and F1 over the entities that the knowledge base has (F1 over all beside it), and the "
        + "time for a text.",
    mixinStandardHelpOptions = true)
class LinkingCommand implements Callable<Integer> {

  private static final List<String> KEYS = List.of("texts", "system");
  private static final Map<String, Double> TOLERANCES = Map.of("candidate_recall", 0.01, "f1", 0.01, "f1_all", 0.01);

  private final KnowledgeBase knowledge;
  private final KnowledgeImport imports;
  private final EntityLinker linker;
  private final NameFinder names;

  @Spec private CommandSpec spec;
  @Mixin private RecordOption record;

  @Option(names = "--dataset", split = ",", defaultValue = "gerdaq-devel,conel-val",
      description = "Of gerdaq-devel, gerdaq-trainA, gerdaq-trainB, conel-val, conel-train "
          + "(default: ${DEFAULT-VALUE}).")
  private List<String> datasets;

  @Option(names = "--data", defaultValue = "../shared/data",
      description = "Directory with entity-linking/ and wikidata-fb15k/ (default: ${DEFAULT-VALUE}).")
  private Path data;

  @Option(names = "--missed-out",
      description = "Writes the marked entities that the knowledge base has but no name in the text may mean: "
          + "tab-separated collection, text, marked words, title, id.")
  private @Nullable Path missedOut;

  LinkingCommand(KnowledgeBase knowledge, KnowledgeImport imports, EntityLinker linker, NameFinder names) {
    this.knowledge = knowledge;
    this.imports = imports;
    this.linker = linker;
    this.names = names;
  }

  @Override
  public Integer call() throws IOException {
    SimulatedLog.loadKnowledge(knowledge, imports, spec.commandLine().getOut());
    Map<String, String> ids = LinkedTexts.wikidataIds(data.resolve("wikidata-fb15k/entity2wikidata.json.gz"));
    ids.values().removeIf(id -> knowledge.find(id).isEmpty());
    List<Row> rows = new ArrayList<>();
    Map<String, String> hashes = new LinkedHashMap<>();
    Map<String, List<LinkedText>> collections = new LinkedHashMap<>();
    try {
      for (String name : datasets) {
        Path directory = data.resolve("entity-linking");
        collections.put(name, LinkedTexts.read(directory, name));
        hashes.put(name, DatasetReader.hash(directory.resolve(LinkedTexts.file(name))));
      }
    } catch (IllegalArgumentException e) {
      throw new CommandLine.ParameterException(spec.commandLine(), String.valueOf(e.getMessage()), e);
    }
    List<String> missed = new ArrayList<>();
    collections.forEach((name, texts) -> {
      Score linked = LinkingEvaluation.linker(linker, texts, ids);
      Map<String, Double> figures = new LinkedHashMap<>();
      figures.put("mentions", (double) linked.gold());
      figures.put("in_kb", (double) linked.inKb());
      List<Wanted> wanted = LinkingEvaluation.candidates(names, texts, ids);
      wanted.stream().filter(mention -> !mention.among()).forEach(mention -> missed.add(line(name, mention)));
      figures.put("candidate_recall", LinkingEvaluation.candidateRecall(wanted));
      add(figures, linked);
      double[] times = LinkingEvaluation.latency(linker, texts);
      figures.put("p50ms", times[0]);
      figures.put("p99ms", times[1]);
      Map<String, Double> baseline = new LinkedHashMap<>();
      baseline.put("mentions", (double) linked.gold());
      baseline.put("in_kb", (double) linked.inKb());
      add(baseline, LinkingEvaluation.commonness(names, texts, ids));
      rows.add(new Row(keys(name, "commonness alone"), baseline));
      rows.add(new Row(keys(name, "linker"), figures));
    });
    spec.commandLine().getOut().print(ResultTable.markdown(KEYS, List.copyOf(rows.getLast().figures().keySet()), rows));
    spec.commandLine().getOut().flush();
    if (missedOut != null) {
      Files.write(missedOut, missed);
    }
    record.write(spec, "Entity linking", null, hashes, TOLERANCES, KEYS, rows);
    return 0;
  }

  private static String line(String collection, Wanted mention) {
    String text = mention.text().strip().replaceAll("\\s", " ");
    String marked = mention.text().substring(mention.gold().start(), mention.gold().end()).replaceAll("\\s", " ");
    return String.join("\t", collection, text, marked, mention.gold().title(), mention.entityId());
  }

  private static Map<String, String> keys(String texts, String system) {
    Map<String, String> keys = new LinkedHashMap<>();
    keys.put("texts", texts);
    keys.put("system", system);
    return keys;
  }

  private static void add(Map<String, Double> figures, Score score) {
    figures.put("precision", score.precision());
    figures.put("recall", score.recall());
    figures.put("f1", score.f1());
    figures.put("f1_all", score.f1All());
  }
}
