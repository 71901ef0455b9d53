package dev.attune.evaluation;

import dev.attune.datadir.DataDirectory;
import dev.attune.evaluation.MeasuredResult.Row;
import dev.attune.evaluation.RankingEvaluation.Result;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import dev.attune.ranking.RankFusion;
import dev.attune.ranking.RankingVariants;
import dev.attune.ranking.RankingVariants.Form;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.Embedder;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.springframework.beans.factory.ObjectProvider;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Quality of ranking on test collections. */
@Command(
    name = "ranking",
    description =
        "nDCG@10, MRR@10 and Recall@100 (trec_eval conventions) of retrieval and ranking, with 95 %% bootstrap intervals "
            + "and a paired randomisation test against the first system.",
    mixinStandardHelpOptions = true)
class RankingCommand implements Callable<Integer> {

  private final DataDirectory dataDirectory;
  private final Embedder embedder;
  private final ObjectProvider<RankingVariants.Factory> variants;
  private final RankFusion fusion;
  private final ObjectProvider<Models> models;
  private @Nullable RankingVariants loaded;

  @Spec private CommandSpec spec;
  @Mixin private RecordOption record;

  @Option(names = "--dataset", split = ",", description = "Collections below --data (default: scifact,cranfield,npl,movies).")
  private List<String> datasets = List.of();

  @Option(names = "--corpus", split = ",",
      description = "Folders in BEIR's layout anywhere: corpus.jsonl, queries.jsonl, qrels/*.tsv, each plain or with .gz.")
  private List<Path> folders = List.of();

  @Option(names = "--qrels",
      description = "Judgments for the one folder of --corpus, of BEIR or TREC (default: its qrels/test, dev or train).")
  private @Nullable Path qrels;

  @Option(names = "--systems", split = ",", defaultValue = "bm25,dense,hybrid",
      description = "Of bm25, dense, hybrid; blockrank and fused, also with -int8 or -int8-tenth, which is how the "
          + "document KV store may keep documents, or -debiased, -sinks-calibrated, -sinks-redistributed, "
          + "-accumulated, which transform the attention (default: ${DEFAULT-VALUE}).")
  private List<String> systems;

  @Option(names = "--queries", defaultValue = "500",
      description = "Queries per collection, 0 for all (default: ${DEFAULT-VALUE}; the sample is fixed).")
  private int queries;

  @Option(names = "--candidates", defaultValue = "100",
      description = "Length of the lists, 1 to 500 (default: ${DEFAULT-VALUE}).")
  private int candidates;

  @Option(names = "--first-stage", defaultValue = "hybrid",
      description = "Whose candidates BlockRank ranks: bm25, dense, hybrid (default: ${DEFAULT-VALUE}).")
  private String firstStage;

  @Option(names = "--limit", defaultValue = "0",
      description = "Only the first documents of each collection, 0 for all; for a quick look.")
  private int limit;

  @Option(names = "--split", defaultValue = "whole",
      description = "train, validation or whole: movies and scifact (train part) trained the bundled adapter "
          + "(default: ${DEFAULT-VALUE}).")
  private String split;

  @Option(names = "--run-out",
      description = "Folder for TREC runs and the measures of each query; a run that was broken off goes on from there.")
  private @Nullable Path runOut;

  @Option(names = "--data", defaultValue = "../shared/data",
      description = "Directory of the collections (default: ${DEFAULT-VALUE}).")
  private Path data;

  RankingCommand(
      DataDirectory dataDirectory,
      Embedder embedder,
      ObjectProvider<RankingVariants.Factory> variants,
      RankFusion fusion,
      ObjectProvider<Models> models) {
    this.dataDirectory = dataDirectory;
    this.embedder = embedder;
    this.variants = variants;
    this.fusion = fusion;
    this.models = models;
  }

  @Override
  public Integer call() {
    try {
      return run();
    } catch (IllegalArgumentException e) {
      throw new CommandLine.ParameterException(spec.commandLine(), String.valueOf(e.getMessage()), e);
    }
  }

  private int run() {
    if (candidates < 1 || candidates > 500) {
      throw new IllegalArgumentException("--candidates must be between 1 and 500");
    }
    PrintWriter out = spec.commandLine().getOut();
    List<RankingSystem> chosen = systems.stream().map(RankingSystem::of).toList();
    Mode mode = RankingSystem.mode(firstStage);
    boolean reads = chosen.stream().anyMatch(system -> system.form() != null);
    boolean vectors =
        reads && mode != Mode.LEXICAL
            || chosen.stream().anyMatch(s -> s.retriever() != null && s.retriever() != Mode.LEXICAL);
    List<Form> forms = chosen.stream().map(RankingSystem::form).filter(Objects::nonNull).distinct().toList();
    List<Row> rows = new ArrayList<>();
    Map<String, String> hashes = new LinkedHashMap<>();
    for (Dataset dataset : datasets()) {
      hashes.put(dataset.name(), dataset.hash());
      try (EvaluationIndex index =
          EvaluationIndex.open(dataDirectory.room("evaluation"), dataset, embedder, vectors, out)) {
        Supplier<RankingVariants> ranker = this::ranker;
        QueryRanking.Setting setting =
            new QueryRanking.Setting(
                index.documents(), mode, candidates, forms, ranker, fusion);
        RunFolder folder = runOut == null ? null : new RunFolder(runOut, dataset.name(), settings(dataset, reads));
        List<Result> results = RankingEvaluation.run(dataset, chosen, setting, folder, new Progress(out));
        List<Row> ofDataset = RankingRows.of(results);
        rows.addAll(ofDataset);
        out.println();
        Row last = ofDataset.getLast();
        out.print(ResultTable.markdown(RankingRows.KEYS, List.copyOf(last.figures().keySet()), ofDataset));
        out.flush();
      }
    }
    String model = loaded == null ? null : loaded.fingerprint();
    record.write(spec, "Ranking of test collections", model, hashes, RankingRows.TOLERANCES, RankingRows.KEYS, rows);
    return 0;
  }

  private List<Dataset> datasets() {
    if (qrels != null && folders.size() != 1) {
      throw new IllegalArgumentException("--qrels belongs to one folder of --corpus");
    }
    Split part = Split.named(split);
    List<Dataset> read = new ArrayList<>();
    DatasetReader reader = new DatasetReader(data);
    boolean named = !datasets.isEmpty() || !folders.isEmpty();
    for (String name : named ? datasets : DatasetReader.NAMES) {
      read.add(reader.read(name, queries));
    }
    for (Path folder : folders) {
      read.add(reader.folder(folder, qrels, queries));
    }
    return read.stream().map(dataset -> (limit > 0 ? dataset.limitedTo(limit) : dataset).only(part)).toList();
  }

  /** All that a query's figures depend on; which queries there are is not among it. */
  private Map<String, String> settings(Dataset dataset, boolean reads) {
    Map<String, String> settings = new LinkedHashMap<>();
    settings.put("data", dataset.hash());
    settings.put("documents", limit > 0 ? "first " + limit : "all");
    settings.put("candidates", Integer.toString(candidates));
    settings.put("first-stage", firstStage);
    if (reads) {
      settings.put("model", ranker().fingerprint());
    }
    return settings;
  }

  private RankingVariants ranker() {
    RankingVariants known = loaded;
    if (known == null) {
      LanguageModel model = LoadedModel.await(models, ModelRole.RANKING);
      known = variants.getObject().of(model);
      loaded = known;
    }
    return known;
  }
}
