package dev.attune.ranking;

import dev.attune.background.ForegroundTraffic;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import dev.attune.llm.TestModel;
import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.ranking.Ranker.RankRequest;
import dev.attune.ranking.Ranker.Ranking;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.bind.Bindable;
import org.springframework.boot.context.properties.bind.Binder;
import org.springframework.boot.context.properties.source.MapConfigurationPropertySource;

/** A ranker with an empty store over the real model. */
final class RankingFixture {

  static final Duration PLENTY = Duration.ofMinutes(10);

  /** Ten short texts on different things. */
  static final List<String> TEXTS =
      List.of(
          "The heart pumps blood through the arteries to every organ of the body.",
          "Volcanoes form where molten rock rises through the crust of the Earth.",
          "A sourdough starter needs flour, water and a few days of patience.",
          "The Wright brothers flew the first powered aeroplane at Kitty Hawk in 1903.",
          "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
          "In chess the bishop moves along the diagonals of the board.",
          "The stock market fell by two per cent after the central bank raised its rates.",
          "Penguins cannot fly, but they swim faster than most fish.",
          "The treaty of Westphalia ended the Thirty Years' War in 1648.",
          "A compiler translates the source code of a program into machine code.");

  final RankingProperties properties;
  final TieredDocumentKv store;
  final ForegroundTraffic traffic = new ForegroundTraffic();
  final DocumentDemand demand = new DocumentDemand();
  final BlockRanker ranker;

  RankingFixture(Map<String, String> settings) {
    this(settings, TestModel.get());
  }

  RankingFixture(Map<String, String> settings, LanguageModel model) {
    this(settings, model, null);
  }

  /** With a store on disk, below its {@code store-size}. */
  RankingFixture(Map<String, String> settings, LanguageModel model, @Nullable Path directory) {
    properties = properties(settings);
    DiskTier disk = directory == null ? null : DiskTier.open(directory, properties.storeSize().toBytes());
    store = new TieredDocumentKv(properties.residentSize().toBytes(), disk);
    ranker = new BlockRanker(models(model), properties, store, traffic, demand);
  }

  static Models models(LanguageModel model) {
    return new Models() {
      @Override
      public Optional<LanguageModel> current(ModelRole role) {
        return Optional.of(model);
      }

      @Override
      public Status status() {
        return new Status(State.READY, "test", model.config().name(), model.backend().name(), null, List.of());
      }
    };
  }

  /** The defaults of the service, with these settings changed. */
  static RankingProperties properties(Map<String, String> settings) {
    Map<String, String> source = new HashMap<>();
    settings.forEach((name, value) -> source.put("attune.ranking." + name, value));
    return new Binder(new MapConfigurationPropertySource(source))
        .bindOrCreate("attune.ranking", Bindable.of(RankingProperties.class));
  }

  /** The model, ready. */
  RankingModel model() {
    return ranker.model().orElseThrow().join();
  }

  Ranking rank(String query, List<RankCandidate> candidates) {
    return rank(query, candidates, PLENTY);
  }

  Ranking rank(String query, List<RankCandidate> candidates, Duration budget) {
    return ranker.rank(new RankRequest(query, candidates, List.of(), budget));
  }

  /** Candidates with ids {@code prefix0, prefix1, ...}. */
  static List<RankCandidate> candidates(String prefix, List<String> texts) {
    return IntStream.range(0, texts.size())
        .mapToObj(i -> new RankCandidate(prefix + i, "", texts.get(i)))
        .toList();
  }

  /** Ordinary text of about this many tokens; different for every seed. */
  static String text(int seed, int words) {
    StringBuilder text = new StringBuilder("Report " + seed + ":");
    for (int i = 0; i < words; i++) {
      text.append(' ').append(WORDS[Math.floorMod(seed * 31 + i * 7 + i * i, WORDS.length)]);
    }
    return text.toString();
  }

  private static final String[] WORDS =
      ("river market engine doctor winter garden signal letter bridge forest number silver window summer copper "
              + "history pattern village teacher harbor mirror season planet").split(" ");
}
