package dev.attune.ranking;

import dev.attune.background.ForegroundTraffic;
import dev.attune.llm.Admission;
import dev.attune.llm.KvSegment;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.DocumentsChanged;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.context.SmartLifecycle;
import org.springframework.context.event.EventListener;

/**
 * One background thread that reads documents one by one while no request runs, until all are read or the store is full;
 * what is in use is never dropped for it. What is on disk counts as read, so after a restart it goes on where it was.
 * At the start it also drops entries of documents that are no longer in the index.
 */
final class DocumentWarmer implements DocumentWarming, SmartLifecycle {

  private static final Logger log = LoggerFactory.getLogger(DocumentWarmer.class);

  private static final int MOST_POPULAR = 20_000;

  private static final Duration MODEL_POLL = Duration.ofSeconds(1);
  private static final Duration QUIET = Duration.ofMillis(250);

  /** Loads come in many batches: begin after the last. */
  private static final Duration SETTLE = Duration.ofSeconds(3);

  private final BlockRanker ranker;
  private final Admission admission;
  private final DocumentIndex index;
  private final DocumentKvStore store;
  private final ForegroundTraffic traffic;
  private final DocumentDemand demand;
  private final RankingProperties properties;

  private final Object lock = new Object();

  /** Time of {@link System#nanoTime} to begin a run at; guarded by lock, as all that follows. */
  private long due;

  private boolean wanted;
  private State state = State.OFF;
  private int planned;
  private int done;
  private volatile @Nullable Thread thread;

  DocumentWarmer(
      BlockRanker ranker,
      Admission admission,
      DocumentIndex index,
      DocumentKvStore store,
      ForegroundTraffic traffic,
      DocumentDemand demand,
      RankingProperties properties) {
    this.ranker = ranker;
    this.admission = admission;
    this.index = index;
    this.store = store;
    this.traffic = traffic;
    this.demand = demand;
    this.properties = properties;
  }

  @EventListener
  void changed(DocumentsChanged event) {
    for (Document document : event.put()) {
      if (store.holds(document.id())) {
        store.retain(document.id(), BlockPrompt.contentHash(document.title(), document.text()));
      }
    }
    for (String id : event.deletedIds()) {
      store.retain(id, null);
      demand.forget(id);
    }
    if (properties.warm() != RankingProperties.Warm.NONE && !event.put().isEmpty()) {
      request(SETTLE);
    }
  }

  @Override
  public void start() {
    if (thread == null) {
      thread = Thread.ofPlatform().daemon().name("ranking-warm").start(this::loop);
      if (properties.warm() == RankingProperties.Warm.NONE) {
        return;
      }
    }
    request(Duration.ZERO);
  }

  private void request(Duration delay) {
    synchronized (lock) {
      wanted = true;
      due = System.nanoTime() + delay.toNanos();
      if (state != State.WAITING_FOR_MODEL) {
        state = State.RUNNING;
      }
      lock.notifyAll();
    }
  }

  @Override
  public void stop() {
    Thread running = thread;
    if (running == null) {
      return;
    }
    thread = null;
    running.interrupt();
    try {
      // One document at most is being read.
      running.join(Duration.ofSeconds(10));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public boolean isRunning() {
    return thread != null;
  }

  @Override
  public Progress progress() {
    DocumentKvStore.Usage usage = store.usage();
    synchronized (lock) {
      return new Progress(
          state,
          planned,
          done,
          usage.documents(),
          usage.bytes(),
          usage.limit(),
          usage.evicted(),
          usage.stored().documents(),
          usage.stored().bytes(),
          usage.stored().limit(),
          ranker.tokensPerSecond());
    }
  }

  private void loop() {
    try {
      dropForgotten();
      while (true) {
        awaitRequest();
        RankingModel model = awaitModel();
        List<String> ids = plan();
        synchronized (lock) {
          state = State.RUNNING;
          planned = ids.size();
          done = 0;
        }
        run(model, ids);
        synchronized (lock) {
          if (!wanted) {
            state = State.DONE;
          }
        }
      }
    } catch (InterruptedException | CancellationException e) {
      log.debug("Background reading stops");
    } catch (ExecutionException e) {
      synchronized (lock) {
        // The ranker has said why.
        state = State.OFF;
      }
    } catch (RuntimeException e) {
      synchronized (lock) {
        state = State.OFF;
      }
      if (thread != null) {
        log.warn("Background reading ends", e);
      }
    }
  }

  /** A deletion may have been the last thing that happened before the process was killed. */
  private void dropForgotten() {
    DocumentKvStore.Sweep sweep = store.sweep();
    index.forEach(
        document -> {
          if (store.holds(document.id())) {
            sweep.keep(document.id(), BlockPrompt.contentHash(document.title(), document.text()));
          }
        });
    int dropped = sweep.finish();
    if (dropped > 0) {
      log.info("Dropped {} stored documents that are not in the index", dropped);
    }
  }

  private void awaitRequest() throws InterruptedException {
    synchronized (lock) {
      while (!wanted || due > System.nanoTime()) {
        lock.wait(wanted ? (due - System.nanoTime()) / 1_000_000 + 1 : 0);
      }
      wanted = false;
    }
  }

  private RankingModel awaitModel() throws InterruptedException, ExecutionException {
    while (true) {
      Optional<CompletableFuture<RankingModel>> model = ranker.model();
      if (model.isPresent()) {
        return model.get().get();
      }
      synchronized (lock) {
        state = State.WAITING_FOR_MODEL;
        lock.wait(MODEL_POLL.toMillis());
      }
    }
  }

  /** Ids in the order of reading. */
  private List<String> plan() {
    Set<String> ids = new LinkedHashSet<>(demand.byDemand());
    record Popular(String id, double value) {}
    Comparator<Popular> leastFirst = Comparator.comparingDouble(Popular::value).thenComparing(Popular::id);
    PriorityQueue<Popular> popular = new PriorityQueue<>(leastFirst);
    List<String> rest = new ArrayList<>();
    index.forEach(
        document -> {
          if (document.fields().get(properties.warmField()) instanceof Number value) {
            popular.add(new Popular(document.id(), value.doubleValue()));
            if (popular.size() > MOST_POPULAR) {
              rest.add(popular.remove().id());
            }
          } else {
            rest.add(document.id());
          }
        });
    popular.stream().sorted(leastFirst.reversed()).forEach(document -> ids.add(document.id()));
    if (properties.warm() == RankingProperties.Warm.ALL) {
      ids.addAll(rest);
    }
    return List.copyOf(ids);
  }

  private void run(RankingModel model, List<String> ids) throws InterruptedException {
    for (String id : ids) {
      traffic.awaitQuiet(QUIET);
      synchronized (lock) {
        if (wanted) {
          // Documents changed: plan again.
          return;
        }
      }
      Optional<Document> document = index.find(id);
      if (document.isPresent() && !read(model, document.get())) {
        log.info("The store of documents is full");
        return;
      }
      synchronized (lock) {
        done++;
      }
    }
  }

  /** Returns false when there is no room for another document. */
  private boolean read(RankingModel model, Document document) {
    String hash = BlockPrompt.contentHash(document.title(), document.text());
    DocumentKvStore.Key key = new DocumentKvStore.Key(model.space(), document.id(), hash);
    if (store.contains(key)) {
      return true;
    }
    if (!store.hasRoom()) {
      return false;
    }
    DocumentKvStore.Claim claim = store.claim(key);
    if (!claim.mine()) {
      return true;
    }
    boolean complete = false;
    try {
      int[] tokens = model.prompt().document(document.title(), document.text());
      long start = System.nanoTime();
      KvSegment segment =
          admission.<KvSegment, RuntimeException>inBackground(
              () -> model.readDocuments(model.instruction(""), List.of(tokens)).getFirst());
      model.cost().read(tokens.length, System.nanoTime() - start);
      claim.complete(segment);
      complete = true;
    } finally {
      if (!complete) {
        claim.fail();
      }
    }
    return true;
  }
}
