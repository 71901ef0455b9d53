package dev.attune.llm.cpu;

import dev.attune.llm.AttentionVisitor;
import dev.attune.llm.KvSegment;
import dev.attune.llm.ModelConfig;
import dev.attune.llm.OwningBackend;
import dev.attune.llm.PassValidation;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.kv.KeptSlots;
import dev.attune.llm.kv.KvCodec;
import dev.attune.llm.kv.KvPolicy;
import dev.attune.llm.lora.LoraAdapter;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/**
 * Llama-architecture inference in fp32. Calls are served one after the other, each with all threads: on a CPU two at
 * once would only share the same cores.
 */
public final class CpuBackend implements OwningBackend {

  /**
   * Tokens of passes that run through the layers together. More would not speed up matrix products and would push
   * activations out of the caches.
   */
  private static final int BATCH_TOKENS = 1024;

  /** Work done since the start. */
  static final class Counters {
    final LongAdder projection = new LongAdder();
    final LongAdder attention = new LongAdder();
    final LongAdder cacheBytes = new LongAdder();
    final LongAdder tokens = new LongAdder();
  }

  private final LlamaWeights weights;
  private final LowRank lowRank;
  private final ModelConfig config;
  private final KvPolicy policy;
  private final WorkerPool pool;
  private final Rope rope;
  private final Workspace workspace;
  private final Counters counters = new Counters();
  /** Runs all passes, first come first served; it is worker 0 of the pool. */
  private final ExecutorService coordinator;

  private CpuBackend(LlamaWeights weights, KvPolicy policy, WorkerPool pool) {
    this.weights = weights;
    this.lowRank = new LowRank(null, pool, counters);
    this.config = weights.config();
    this.policy = policy;
    this.pool = pool;
    this.rope = new Rope(config);
    this.workspace = new Workspace(config, pool.threads());
    this.coordinator =
        Executors.newSingleThreadExecutor(Thread.ofPlatform().daemon().name("attune-llm-0").factory());
  }

  private CpuBackend(CpuBackend base, CpuAdapter adapter) {
    this.weights = base.weights;
    this.lowRank = new LowRank(adapter, base.pool, counters);
    this.config = base.config;
    this.policy = base.policy;
    this.pool = base.pool;
    this.rope = base.rope;
    this.workspace = base.workspace;
    this.coordinator = base.coordinator;
  }

  /** Shares the queue too; closing either closes both. */
  @Override
  public CpuBackend with(LoraAdapter change) {
    return new CpuBackend(this, inTurn(() -> new CpuAdapter(change, Arena.ofAuto(), pool)));
  }

  /**
   * Dequantises and packs the weights of a checkpoint, which may be closed afterwards.
   *
   * @param threads that compute, at least one
   * @throws dev.attune.llm.ModelFileException when a tensor is missing or has another shape than its configuration says
   */
  public static CpuBackend load(Checkpoint file, KvPolicy policy, int threads) {
    WorkerPool pool = new WorkerPool(threads);
    try {
      return new CpuBackend(new WeightLoader(file, Arena.ofAuto(), pool).load(), policy, pool);
    } catch (RuntimeException e) {
      pool.close();
      throw e;
    }
  }

  @Override
  public String name() {
    return "cpu";
  }

  @Override
  public boolean probesSlots() {
    return true;
  }

  @Override
  public String kvPolicy() {
    return policy.toString();
  }

  /** Bytes of weights held, those of the adapter included. */
  @Override
  public long weightBytes() {
    return weights.bytes() + lowRank.bytes();
  }

  @Override
  public List<PassResult> run(List<Pass> passes) {
    for (Pass pass : passes) {
      pass.context().forEach(this::own);
      PassValidation.check(pass, config);
    }
    List<Pass> needed = passes.stream().map(CpuBackend::withoutUnusedTokens).toList();
    return inTurn(() -> runAll(needed));
  }

  /** Runs something on the coordinator: only there may the pool be used. */
  private <T> T inTurn(Callable<T> work) {
    Future<T> result = coordinator.submit(work);
    try {
      return result.get();
    } catch (InterruptedException e) {
      result.cancel(true);
      Thread.currentThread().interrupt();
      throw new CancellationException("Interrupted while waiting for a forward pass");
    } catch (ExecutionException e) {
      switch (e.getCause()) {
        case RuntimeException cause -> throw cause;
        case Error cause -> throw cause;
        case null, default -> throw new IllegalStateException(e);
      }
    }
  }

  /** Tokens after the last probed row change nothing that the pass returns, unless it keeps them. */
  private static Pass withoutUnusedTokens(Pass pass) {
    if (pass.probe() == null || pass.keepKv()) {
      return pass;
    }
    int needed = Arrays.stream(pass.probe().rows()).max().orElseThrow() + 1;
    return new Pass(Arrays.copyOf(pass.tokens(), needed), pass.firstPosition(), pass.context(), pass.layers(), false,
        Logits.NONE, pass.probe());
  }

  private List<PassResult> runAll(List<Pass> passes) {
    @Nullable PassResult[] results = new PassResult[passes.size()];
    List<Integer> batch = new ArrayList<>();
    int tokens = 0;
    for (int i : inOrderOfDepth(passes)) {
      Pass pass = passes.get(i);
      if (!batch.isEmpty() && (tokens + pass.tokens().length > BATCH_TOKENS
          || passes.get(batch.getFirst()).layers() != pass.layers())) {
        runBatch(passes, batch, results);
        batch.clear();
        tokens = 0;
      }
      batch.add(i);
      tokens += pass.tokens().length;
    }
    if (!batch.isEmpty()) {
      runBatch(passes, batch, results);
    }
    return List.of(results);
  }

  private static List<Integer> inOrderOfDepth(List<Pass> passes) {
    List<Integer> order = new ArrayList<>();
    for (int i = 0; i < passes.size(); i++) {
      order.add(i);
    }
    order.sort(Comparator.comparingInt(i -> passes.get(i).layers()));
    return order;
  }

  private void runBatch(List<Pass> all, List<Integer> batch, @Nullable PassResult[] results) {
    List<Pass> passes = batch.stream().map(all::get).toList();
    List<@Nullable CpuKvSegment> kept = new ArrayList<>();
    passes.forEach(pass -> kept.add(pass.keepKv() ? allocate(pass) : null));
    List<PassResult> done = new ForwardPass(weights, lowRank, rope, pool, workspace, counters, passes, kept).run();
    for (int i = 0; i < batch.size(); i++) {
      results[batch.get(i)] = done.get(i);
    }
  }

  private CpuKvSegment allocate(Pass pass) {
    int keyLayers = Math.min(pass.layers() + 1, config.layers());
    KvCodec codec = policy.codec(pass.tokens().length);
    KvLayout layout = new KvLayout(codec, config.kvHeads(), config.headSize(), pass.tokens().length, keyLayers,
        pass.layers(), pass.firstPosition(), pass.tokens().length);
    ContentHash hash = new ContentHash(pass.layers()).add(codec.ordinal()).add(pass.firstPosition());
    for (int token : pass.tokens()) {
      hash.add(token);
    }
    inContentOrder(pass.context()).forEach(segment -> hash.add(segment.contentId()));
    return CpuKvSegment.allocate(layout, hash.value());
  }

  static List<CpuKvSegment> inContentOrder(List<KvSegment> context) {
    return context.stream()
        .map(CpuKvSegment.class::cast)
        .sorted(Comparator.comparingLong(CpuKvSegment::contentId))
        .toList();
  }

  @Override
  public KvSegment concat(List<KvSegment> segments) {
    return retain(segments, KeptSlots.ALL);
  }

  @Override
  public KvSegment retain(List<KvSegment> segments, Retained retained) {
    if (segments.isEmpty()) {
      throw new IllegalArgumentException("Nothing to put together");
    }
    List<CpuKvSegment> sources = segments.stream().map(this::own).toList();
    KvCodec codec = sources.size() == 1
        ? sources.getFirst().layout.codec()
        : policy.codec(sources.stream().mapToInt(KvSegment::tokens).sum());
    return new SlotGather(sources, codec).gather(retained);
  }

  @Override
  public KvSegment recode(KvSegment segment, KvCodec codec) {
    CpuKvSegment own = own(segment);
    return own.layout.codec() == codec ? own : new SlotGather(List.of(own), codec).gather(KeptSlots.ALL);
  }

  @Override
  public KvSegment slice(KvSegment segment, int from, int to) {
    return SlotGather.slice(own(segment), from, to);
  }

  @Override
  public void inspect(int[] tokens, int[] rows, AttentionVisitor visitor) {
    Pass pass = new Pass(tokens, 0, List.of(), config.layers(), false, Logits.NONE, null);
    PassValidation.check(pass, config);
    if (!Arrays.stream(rows).allMatch(row -> row >= 0 && row < tokens.length)) {
      throw new IllegalArgumentException("Rows are not all below " + tokens.length);
    }
    List<@Nullable CpuKvSegment> kept = new ArrayList<>();
    kept.add(null);
    inTurn(() -> new ForwardPass(weights, lowRank, rope, pool, workspace, counters, List.of(pass), kept)
        .inspect(rows, visitor));
  }

  @Override
  public MemorySegment image(KvSegment segment) {
    return own(segment).image.asReadOnly();
  }

  @Override
  public KvSegment restore(MemorySegment image) {
    return own(CpuKvSegment.restore(image));
  }

  @Override
  public Work work() {
    return new Work(counters.projection.sum(), counters.attention.sum(), counters.cacheBytes.sum(),
        counters.tokens.sum());
  }

  /** Stops the threads; running passes are cancelled. */
  @Override
  public void close() {
    coordinator.shutdownNow();
    pool.close();
  }

  private CpuKvSegment own(KvSegment segment) {
    if (!(segment instanceof CpuKvSegment own) || own.layout.kvHeads() != config.kvHeads()
        || own.layout.headSize() != config.headSize() || own.layers() > config.layers()) {
      throw new IllegalArgumentException("Segment was not made by a backend of this model: " + segment);
    }
    return own;
  }
}
