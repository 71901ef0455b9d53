package dev.attune.evaluation;

import dev.attune.datadir.DataDirectory;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import dev.attune.llm.TextGenerator;
import dev.attune.ranking.PromptTokens;
import dev.attune.ranking.Ranker;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.Embedder;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Supplier;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.stereotype.Component;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Measures quality on test collections. */
@Component
@Command(
    name = "evaluate",
    description = "Measure the quality of rankings, linking and suggestions on test collections.",
    subcommands = {
      RankingCommand.class, RunCommand.class, LinkingCommand.class, SuggestionsCommand.class,
      PersonalizationCommand.class, CheckCommand.class, ReportCommand.class},
    mixinStandardHelpOptions = true)
class EvaluateCommand implements Runnable {

  private final DataDirectory dataDirectory;
  private final Embedder embedder;
  private final ObjectProvider<Ranker> ranker;
  private final ObjectProvider<Models> models;
  private final ObjectProvider<PromptTokens.Factory> prompts;
  private final ObjectProvider<TextGenerator> generator;

  @Spec private CommandSpec spec;

  EvaluateCommand(
      DataDirectory dataDirectory,
      Embedder embedder,
      ObjectProvider<Ranker> ranker,
      ObjectProvider<Models> models,
      ObjectProvider<PromptTokens.Factory> prompts,
      ObjectProvider<TextGenerator> generator) {
    this.generator = generator;
    this.dataDirectory = dataDirectory;
    this.embedder = embedder;
    this.ranker = ranker;
    this.models = models;
    this.prompts = prompts;
  }

  @Override
  public void run() {
    throw new CommandLine.ParameterException(
        spec.commandLine(), "Say what to do: " + String.join(", ", spec.subcommands().keySet()));
  }

  @Command(
      name = "export",
      description =
          "Writes lists of candidates with grades and the token ids of every block as JSON lines, for training. The "
              + "test part of a collection is never written.",
      mixinStandardHelpOptions = true)
  int export(
      @Option(names = "--dataset", required = true,
          description = "A collection, or a directory in BEIR's layout under --data.") String name,
      @Option(names = "--split", required = true,
          description = "train, validation, or whole for a collection that no part of training sees.") String split,
      @Option(names = "--out", required = true, description = "File to write, gzip.") Path file,
      @Option(names = "--queries", defaultValue = "0",
          description = "Queries to take before they are split, 0 for all (the sample is fixed).") int queries,
      @Option(names = "--candidates", defaultValue = "100",
          description = "Length of the lists, 1 to 500 (default: ${DEFAULT-VALUE}).") int candidates,
      @Option(names = "--first-stage", defaultValue = "hybrid",
          description = "Whose candidates: bm25, dense, hybrid (default: ${DEFAULT-VALUE}).") String firstStage,
      @Option(names = "--all-documents", description = "Write the documents that are in no list too.")
          boolean allDocuments,
      @Option(names = "--masses", description = "Write BlockRank's mass of each candidate too; slow.") boolean masses,
      @Option(names = "--data", defaultValue = "../shared/data",
          description = "Directory of the collections (default: ${DEFAULT-VALUE}).") Path data) {
    PrintWriter out = spec.commandLine().getOut();
    if (candidates < 1 || candidates > 500) {
      throw new CommandLine.ParameterException(spec.commandLine(), "--candidates must be between 1 and 500");
    }
    Mode mode = checked(() -> RankingSystem.mode(firstStage));
    Split part = checked(() -> Split.named(split));
    Dataset dataset = checked(() -> new DatasetReader(data).read(name, queries));
    PromptTokens prompt = prompts.getObject().of(LoadedModel.await(models, ModelRole.RANKING));
    try (EvaluationIndex index =
        EvaluationIndex.open(dataDirectory.room("evaluation"), dataset, embedder, mode != Mode.LEXICAL, out)) {
      ListExport export =
          new ListExport(dataset, index.documents(), mode, candidates, prompt, masses ? ranker() : null);
      int lists = export.write(part, allDocuments, file);
      out.printf("%s: %,d lists of the %s part in %s%n", name, lists, split, file);
      out.flush();
    }
    return 0;
  }

  @Command(
      name = "kv",
      description = "Fidelity of KV policies on real text against everything kept in fp16: bytes, mean KL divergence "
          + "of the next token, top-1 agreement, and how often the five greedy continuations are the same.",
      mixinStandardHelpOptions = true)
  int kv(
      @Option(names = "--tokens", split = ",", defaultValue = "1024,2048,4096,8064",
          description = "Prompt lengths (default: ${DEFAULT-VALUE}).") List<Integer> lengths,
      @Option(names = "--policies", split = ";", defaultValue = "full+int8;razor(retrieval=0.15)+fp16;"
          + "razor(retrieval=0.32)+fp16;razor(retrieval=0.5)+fp16;razor(retrieval=0.5)+int8",
          description = "Policies; streaming at equal bytes is added for each razor (default: ${DEFAULT-VALUE}).")
          List<String> policies,
      @Option(names = "--texts", defaultValue = "2", description = "Default: ${DEFAULT-VALUE}.") int texts,
      @Option(names = "--topics", defaultValue = "5",
          description = "Greedy suggestions asked for per text and length (default: ${DEFAULT-VALUE}).") int topics) {
    new KvFidelity(LoadedModel.await(models, ModelRole.SUGGESTION), generator.getObject(), spec.commandLine().getOut())
        .run(lengths, policies, texts, topics);
    return 0;
  }

  private <T> T checked(Supplier<T> argument) {
    try {
      return argument.get();
    } catch (IllegalArgumentException e) {
      throw new CommandLine.ParameterException(spec.commandLine(), String.valueOf(e.getMessage()), e);
    }
  }

  private Ranker ranker() {
    LoadedModel.await(models, ModelRole.RANKING);
    return ranker.getObject();
  }
}
