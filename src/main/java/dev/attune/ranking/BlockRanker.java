package dev.attune.ranking;

import dev.attune.background.ForegroundTraffic;
import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.ModelRole;
import dev.attune.llm.Models;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The ranker of the service. What is stored already is used as it is; of the rest, the first candidates in retrieval
 * order are read, batch by batch, as long as reading and scoring them fits into the budget.
 *
 * <p>A document's keys and values do not depend on its list, and the backend's sums do not depend on the order of the
 * documents, so a permutation of the candidates changes no bit of their scores.
 */
final class BlockRanker implements Ranker {

  private static final Logger log = LoggerFactory.getLogger(BlockRanker.class);

  /** Share of the budget that is planned with. */
  private static final double PLANNED = 0.85;

  /** Nanoseconds that a call for more than a batch may take. */
  private static final double LONGEST_CALL = 50e6;

  private final Models models;
  private final RankingProperties properties;
  private final DocumentKvStore store;
  private final ForegroundTraffic traffic;
  private final DocumentDemand demand;

  /** Of the latest fingerprint asked for; guarded by this. */
  private @Nullable String preparing;

  private @Nullable CompletableFuture<RankingModel> prepared;

  BlockRanker(
      Models models,
      RankingProperties properties,
      DocumentKvStore store,
      ForegroundTraffic traffic,
      DocumentDemand demand) {
    this.models = models;
    this.properties = properties;
    this.store = store;
    this.traffic = traffic;
    this.demand = demand;
  }

  /**
   * The model made ready for ranking, empty while there is none. The first call has it prepared on a thread of its own,
   * so that a request whose time runs out does not end the preparation.
   */
  Optional<CompletableFuture<RankingModel>> model() {
    return models.current(ModelRole.RANKING).map(this::prepare);
  }

  private synchronized CompletableFuture<RankingModel> prepare(LanguageModel model) {
    CompletableFuture<RankingModel> future = prepared;
    if (future != null && model.fingerprint().equals(preparing) && !future.isCompletedExceptionally()) {
      return future;
    }
    CompletableFuture<RankingModel> started = new CompletableFuture<>();
    preparing = model.fingerprint();
    prepared = started;
    Thread.ofPlatform()
        .daemon()
        .name("ranking-prepare")
        .start(
            () -> {
              try {
                RankingModel ready = new RankingModel(model, properties);
                store.use(ready.space(), model.backend());
                started.complete(ready);
              } catch (RuntimeException e) {
                log.error("In-context ranking cannot be used: {}", e.getMessage());
                started.completeExceptionally(e);
              }
            });
    return started;
  }

  /** Reading speed, null before the model is ready. */
  synchronized @Nullable Double tokensPerSecond() {
    CompletableFuture<RankingModel> future = prepared;
    return future == null || !future.isDone() || future.isCompletedExceptionally()
        ? null
        : future.join().cost().tokensPerSecond();
  }

  @Override
  public Ranking rank(RankRequest request) {
    for (RankCandidate candidate : request.candidates()) {
      if (candidate.id() != null) {
        demand.candidate(candidate.id());
      }
    }
    return rank(request, store);
  }

  @Override
  public Inspector inspector() {
    UnsharedDocumentKv documents = new UnsharedDocumentKv(store);
    return request -> {
      Ranking ranking = rank(request, documents);
      return new Inspection(ranking, ranking.documents() == 0 ? null : prompt(request, ranking));
    };
  }

  private @Nullable RankingPrompt prompt(RankRequest request, Ranking ranking) {
    RankingModel model = model().filter(CompletableFuture::isDone).map(CompletableFuture::join).orElse(null);
    if (model == null) {
      // Another model came in between.
      return null;
    }
    return RankingPrompt.of(model, properties.keptTokens(), request, ranking,
        candidate -> candidate.id() != null && store.contains(key(model, candidate)));
  }

  private static DocumentKvStore.Key key(RankingModel model, RankCandidate candidate) {
    return new DocumentKvStore.Key(
        model.space(),
        String.valueOf(candidate.id()),
        BlockPrompt.contentHash(candidate.title(), candidate.text()));
  }

  private Ranking rank(RankRequest request, DocumentKv documents) {
    Duration budget = request.budget() == null ? properties.budget() : request.budget();
    long nanos = Math.min(budget.toNanos(), Duration.ofDays(1).toNanos());
    // Estimates err: a plan that fills the budget would often end after it.
    long deadline = System.nanoTime() + (long) (PLANNED * nanos);
    traffic.begin();
    try {
      Optional<CompletableFuture<RankingModel>> model = model();
      if (model.isEmpty()) {
        return unread(request, "model");
      }
      long left = Math.max(0, deadline - System.nanoTime());
      return new Run(model.get().get(left, TimeUnit.NANOSECONDS), request, documents, deadline).rank();
    } catch (TimeoutException e) {
      return unread(request, "budget");
    } catch (ExecutionException e) {
      throw new IllegalStateException(e.getCause().getMessage(), e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("Interrupted while waiting for what another request reads");
    } finally {
      traffic.end();
    }
  }

  private static Ranking unread(RankRequest request, String reason) {
    double[] scores = new double[request.candidates().size()];
    Arrays.fill(scores, Double.NaN);
    return new Ranking(scores, null, 0, 0, 0, reason);
  }

  /** One request under way. */
  private final class Run {
    private final RankingModel model;
    private final List<RankCandidate> candidates;
    private final DocumentKv documents;
    private final long deadline;
    private final BlockPrompt.LastBlock last;
    private final KvSegment instruction;
    private final DocumentKvStore.@Nullable Key[] keys;
    private final @Nullable KvSegment[] read;
    private long contextTokens;
    private long contextBytes;
    private int warm;

    Run(RankingModel model, RankRequest request, DocumentKv documents, long deadline) {
      this.model = model;
      this.candidates = request.candidates();
      this.documents = documents;
      this.deadline = deadline;
      this.last = model.prompt().last(request.query(), request.memory());
      this.instruction = model.instruction(request.query());
      this.contextTokens = instruction.tokens();
      this.keys = new DocumentKvStore.@Nullable Key[candidates.size()];
      this.read = new @Nullable KvSegment[candidates.size()];
    }

    Ranking rank() throws InterruptedException {
      List<Integer> cold = new ArrayList<>();
      boolean complete = takeStored(cold);
      complete &= readCold(cold);
      int[] scored = IntStream.range(0, read.length).filter(i -> read[i] != null).toArray();
      double[] scores = score(scored);
      return new Ranking(
          scores,
          model.name(),
          scored.length,
          warm,
          Math.toIntExact(contextTokens) + last.tokens().length,
          complete ? null : "budget");
    }

    /** Takes what is stored; false when even that does not fit. */
    private boolean takeStored(List<Integer> cold) {
      boolean complete = true;
      for (int i = 0; i < read.length; i++) {
        DocumentKvStore.Key key = storable(i) ? key(model, candidates.get(i)) : null;
        keys[i] = key;
        KvSegment stored = key == null ? null : documents.find(key);
        if (stored == null) {
          cold.add(i);
        } else if (affordable(0, stored.meanSlots()) && fits(stored)) {
          take(i, stored);
          warm++;
        } else {
          complete = false;
        }
      }
      return complete;
    }

    /** Reads the others in their order; false when the budget ended first. */
    private boolean readCold(List<Integer> cold) throws InterruptedException {
      int next = 0;
      while (next < cold.size()) {
        List<Integer> batch = new ArrayList<>();
        List<int[]> tokens = new ArrayList<>();
        int batchTokens = 0;
        while (next < cold.size()) {
          RankCandidate candidate = candidates.get(cold.get(next));
          int[] document = model.prompt().document(candidate.title(), candidate.text());
          if (batch.size() >= properties.batch()
              && model.cost().reading(batchTokens + document.length) > LONGEST_CALL) {
            break;
          }
          if (!affordable(batchTokens + document.length, batchTokens + document.length)) {
            break;
          }
          batchTokens += document.length;
          batch.add(cold.get(next++));
          tokens.add(document);
        }
        if (batch.isEmpty() || !readBatch(batch, tokens)) {
          return false;
        }
      }
      return true;
    }

    private boolean affordable(int newTokens, int newContext) {
      double need = model.cost().reading(newTokens)
          + model.cost().scoring(last.tokens().length, contextTokens + newContext);
      return System.nanoTime() + need <= deadline;
    }

    private boolean fits(KvSegment segment) {
      return contextBytes + segment.bytes() <= properties.listSize().toBytes();
    }

    /** Reads what nobody else is reading, then waits for the others; false when time or memory ran out. */
    private boolean readBatch(List<Integer> batch, List<int[]> tokens) throws InterruptedException {
      DocumentKvStore.@Nullable Claim[] claims = new DocumentKvStore.@Nullable Claim[batch.size()];
      List<Integer> mine = new ArrayList<>();
      for (int i = 0; i < claims.length; i++) {
        DocumentKvStore.Key key = keys[batch.get(i)];
        DocumentKvStore.Claim claim = key == null ? null : documents.claim(key);
        claims[i] = claim;
        if (claim == null || claim.mine()) {
          mine.add(i);
        }
      }
      @Nullable KvSegment[] segments = new @Nullable KvSegment[claims.length];
      readMine(mine, tokens, claims, segments);
      boolean complete = true;
      for (int i = 0; i < claims.length; i++) {
        KvSegment segment = segments[i];
        DocumentKvStore.Claim claim = claims[i];
        if (segment == null && claim != null) {
          segment = awaitOther(claim);
        }
        if (segment == null || !fits(segment)) {
          complete = false;
        } else {
          take(batch.get(i), segment);
        }
      }
      return complete;
    }

    private void readMine(
        List<Integer> mine,
        List<int[]> tokens,
        DocumentKvStore.@Nullable Claim[] claims,
        @Nullable KvSegment[] segments) {
      if (mine.isEmpty()) {
        return;
      }
      int done = 0;
      try {
        List<int[]> blocks = mine.stream().map(tokens::get).toList();
        long start = System.nanoTime();
        List<KvSegment> results = model.readDocuments(instruction, blocks);
        model.cost().read(blocks.stream().mapToInt(d -> d.length).sum(), System.nanoTime() - start);
        for (; done < results.size(); done++) {
          int i = mine.get(done);
          segments[i] = results.get(done);
          DocumentKvStore.Claim claim = claims[i];
          if (claim != null) {
            claim.complete(results.get(done));
          }
        }
      } finally {
        for (int i : mine.subList(done, mine.size())) {
          DocumentKvStore.Claim claim = claims[i];
          if (claim != null) {
            claim.fail();
          }
        }
      }
    }

    private @Nullable KvSegment awaitOther(DocumentKvStore.Claim claim) throws InterruptedException {
      try {
        return claim.await(Duration.ofNanos(Math.max(0, deadline - System.nanoTime())));
      } catch (TimeoutException e) {
        return null;
      }
    }

    private void take(int candidate, KvSegment segment) {
      read[candidate] = segment;
      contextTokens += segment.meanSlots();
      contextBytes += segment.bytes();
    }

    private double[] score(int[] scored) {
      double[] scores = new double[read.length];
      Arrays.fill(scores, Double.NaN);
      if (scored.length == 0) {
        return scores;
      }
      List<KvSegment> segments = new ArrayList<>();
      for (KvSegment segment : read) {
        if (segment != null) {
          segments.add(segment);
        }
      }
      long start = System.nanoTime();
      float[] mass = model.score(instruction, segments, last);
      model.cost().scored(last.tokens().length, contextTokens, System.nanoTime() - start);
      for (int i = 0; i < mass.length; i++) {
        scores[scored[i]] = mass[i];
      }
      return scores;
    }

    private boolean storable(int candidate) {
      return model.prompt().documentsOnce() && candidates.get(candidate).id() != null;
    }
  }
}
