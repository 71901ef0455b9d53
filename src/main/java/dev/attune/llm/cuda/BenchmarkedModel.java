package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.cuda.GpuBenchmark.Shape;
import dev.attune.llm.cuda.Kernels.Epilogue;
import dev.attune.llm.cuda.PrefillEngine.Products;
import dev.attune.llm.kv.KvCodec;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * One shape's random weights and engines, and what is measured of it: ranking cold, warm and half-warm, and decoding.
 */
final class BenchmarkedModel implements AutoCloseable {

  private static final int INSTRUCTION = 64;
  private static final int DOCUMENT = 160;
  private static final int LAST = 48;
  private static final int LAST_POSITION = 2048;
  private static final int PROMPT = 600;
  private static final int NEW_TOKENS = 64;

  private final CudaDevice device;
  private final DeviceTimer timer;
  private final PrintWriter out;
  private final Shape shape;
  private final ModelConfig config;
  private final Kernels kernels;
  private final CudaWeights weights;
  private final Fp8Weights fp8;
  private final List<Long> owned = new ArrayList<>();
  private final PrefillEngine prefill;
  private final SkinnyEngine skinny;
  /** With FP8, which makes a difference for large matrices only. */
  private final @Nullable SkinnyEngine skinnyFp8;
  private final ProbeLauncher probe;
  private final SegmentEditor editor;
  private final long queries;

  BenchmarkedModel(
      CudaDevice device, Nvrtc compiler, Numbers numbers, CublasLt cublas, DeviceTimer timer, PrintWriter out,
      Shape shape) {
    this.device = device;
    this.timer = timer;
    this.out = out;
    this.shape = shape;
    config = shape.config;
    kernels = new Kernels(device, compiler, config, numbers);
    weights = randomWeights();
    probe = new ProbeLauncher(device, config, kernels);
    editor = new SegmentEditor(device, kernels, new SegmentMemory(device, Long.MAX_VALUE));
    SkinnyProducts products = new SkinnyProducts(device, kernels, weights);
    fp8 = Fp8Weights.of(device, kernels, weights);
    prefill = new PrefillEngine(device, kernels, weights, products, cublas, fp8);
    skinny = new SkinnyEngine(device, kernels, weights, null, products, probe);
    skinnyFp8 = ProductChain.fits(config) ? new SkinnyEngine(device, kernels, weights, fp8, products, probe) : null;
    queries = device.allocate(4L * 1024 * config.heads() * config.headSize(), "queries");
  }

  private CudaWeights randomWeights() {
    int hidden = config.hidden();
    int attention = config.heads() * config.headSize();
    int inner = config.feedForward();
    long qkv = attention + 2L * config.kvHeads() * config.headSize();
    List<CudaWeights.Layer> layers = new ArrayList<>();
    int needed = shape == Shape.S ? config.layers() : shape.layer + 1;
    for (int i = 0; i < needed; i++) {
      layers.add(new CudaWeights.Layer(own(qkv * hidden, 1.4 / Math.sqrt(hidden), 10 * i),
          own((long) hidden * attention, 1 / Math.sqrt(attention), 10 * i + 1),
          own(2L * inner * hidden, 1 / Math.sqrt(hidden), 10 * i + 2),
          own((long) hidden * inner, 1 / Math.sqrt(inner), 10 * i + 3), 0, 0));
    }
    return new CudaWeights(config, own((long) config.vocabulary() * hidden, 1, 1001), layers,
        own((long) config.vocabulary() * hidden, 1 / Math.sqrt(hidden), 1002),
        CudaWeights.ropeTable(device, config));
  }

  private long own(long count, double deviation, int seed) {
    long address = GpuBenchmark.random(device, kernels, count, 0, (float) deviation, seed);
    owned.add(address);
    return address;
  }

  private CudaKvSegment segment(int tokens, int layers, int position, int id) {
    CudaKvSegment.Shape kv = CudaKvSegment.Shape.whole(kernels.numbers.codec, config.kvHeads(),
        config.headSize(), tokens, Math.min(layers + 1, config.layers()), layers, position);
    long address = device.allocate(kv.bytes(), "a segment");
    owned.add(address);
    return new CudaKvSegment(kv, address, id);
  }

  void rank(int n, int samples, boolean compareTiles) {
    int layer = shape.layer;
    int before = owned.size();
    Random random = new Random(n);
    CudaKvSegment instruction = segment(INSTRUCTION, layer, 0, 0);
    List<CudaKvSegment> documents = new ArrayList<>();
    List<BatchPlan.Sequence> batch = new ArrayList<>();
    batch.add(new BatchPlan.Sequence(tokens(random, INSTRUCTION), 0, List.of(), instruction, true));
    for (int i = 0; i < n; i++) {
      CudaKvSegment document = segment(DOCUMENT, layer, INSTRUCTION, i + 1);
      documents.add(document);
      batch.add(new BatchPlan.Sequence(
          tokens(random, DOCUMENT), INSTRUCTION, List.of(instruction), document, true));
    }
    List<CudaKvSegment> context = new ArrayList<>(documents);
    context.addFirst(instruction);
    CudaKvSegment own = segment(LAST, layer, LAST_POSITION, n + 1);
    BatchPlan.Sequence last =
        new BatchPlan.Sequence(tokens(random, LAST), LAST_POSITION, context, own, false);
    batch.add(last);
    probe.reserve(n);
    int rows = INSTRUCTION + n * DOCUMENT + LAST;

    List<Products> ways = compareTiles ? List.of(Products.CUBLASLT, Products.FP8, Products.FUSED)
        : List.of(Products.FP8, Products.FUSED);
    Map<String, float[]> scores = new LinkedHashMap<>();
    for (Products how : ways) {
      String name = how == Products.FUSED ? "cold" : "cold-" + how.name().toLowerCase(Locale.ROOT);
      for (int width : compareTiles && how == Products.FUSED ? tiles() : List.of(0)) {
        if (width > 0) {
          for (Epilogue epilogue : List.of(Epilogue.QKV, Epilogue.RESIDUAL, Epilogue.SWIGLU)) {
            prefill.gemm().width(epilogue, width);
          }
        }
        BatchPlan plan = prefill.prepare(batch, how);
        plan.probe(documents);
        plan.pick(0, new int[] {rows - 2, rows - 1});
        plan.upload();
        Runnable cold = () -> {
          prefill.run(plan, layer, how);
          prefill.nextKeys(plan, layer, how);
          prefill.queries(plan, layer, plan.picks, 2, queries);
          probe.run(plan, 0, layer, 2, queries);
        };
        cold.run();
        device.synchronize("Ranking %d documents".formatted(n));
        scores.put(name + width, masses(n));
        try (CudaGraph graph = device.capture(cold)) {
          timer.note(shape.name(), name, n, timer.sample(samples, graph::launch),
              width > 0 ? "tiles of %d outputs".formatted(width) : "");
        }
      }
    }
    int[] order = random.ints(0, n).distinct().limit(n).toArray();
    scores.put("warm", warm("warm", skinny, n, samples, last, documents));
    List<CudaKvSegment> int8 = new ArrayList<>();
    List<CudaKvSegment> tenth = new ArrayList<>();
    for (CudaKvSegment document : documents) {
      int8.add(quantised(document));
      tenth.add(everyTenth(document));
    }
    // Documents of other lists lie between those of this one, in another order.
    List<CudaKvSegment> scattered = new ArrayList<>();
    for (int i : order) {
      scattered.add(copy(int8.get(i)));
      segment(DOCUMENT, layer, INSTRUCTION, 0);
    }
    scores.put("warm-int8", warm("warm-int8", skinny, n, samples, with(last, instruction, int8), int8));
    warm("warm-int8-scattered", skinny, n, samples, with(last, instruction, scattered), scattered);
    warm("warm-tenth", skinny, n, samples, with(last, instruction, tenth), tenth);
    if (FusedLayers.fits(config)) {
      together("warm-together", n, samples, documents, instruction);
      together("warm-int8-together", n, samples, int8, instruction);
    }
    if (skinnyFp8 != null) {
      scores.put("warm-fp8", warm("warm-fp8", skinnyFp8, n, samples, last, documents));
      scores.put("warm-int8-fp8", warm("warm-int8-fp8", skinnyFp8, n, samples, with(last, instruction, int8), int8));
    }
    halfWarm(n, samples, batch.subList(1, 1 + Math.max(1, n / 10)), last, documents);
    float[] reference = scores.values().iterator().next();
    scores.forEach((name, values) -> out.printf(Locale.ROOT, "  %s N=%d %s: sum %.6f, total variation to first %.2e%n",
        shape, n, name, sum(values), variation(values, reference)));
    out.flush();
    // Everything of this length.
    device.synchronize("Ranking %d documents".formatted(n));
    List.copyOf(owned.subList(before, owned.size())).forEach(address -> {
      owned.remove(address);
      device.free(address);
    });
  }

  private BatchPlan.Sequence with(
      BatchPlan.Sequence last, CudaKvSegment instruction, List<CudaKvSegment> documents) {
    List<CudaKvSegment> context = new ArrayList<>(documents);
    context.addFirst(instruction);
    return new BatchPlan.Sequence(last.tokens(), last.firstPosition(), context, last.own(), false);
  }

  private BatchPlan planned(SkinnyEngine engine, BatchPlan.Sequence last, List<CudaKvSegment> documents) {
    BatchPlan plan = engine.prepare(List.of(last), documents.size());
    plan.probe(documents);
    plan.pick(0, new int[] {LAST - 2, LAST - 1});
    plan.upload();
    return plan;
  }

  /** The last block alone, over documents that are there. */
  private float[] warm(
      String what, SkinnyEngine engine, int n, int samples, BatchPlan.Sequence last, List<CudaKvSegment> documents) {
    BatchPlan plan = planned(engine, last, documents);
    engine.run(plan, shape.layer, SkinnyEngine.Tiles.WIDE, List.of(2), 0);
    engine.run(plan, shape.layer, SkinnyEngine.Tiles.WIDE, List.of(2), 0);
    float[] masses = masses(n);
    timer.note(shape.name(), what, n,
        timer.sample(2 * samples, () -> engine.run(plan, shape.layer, SkinnyEngine.Tiles.WIDE, List.of(2), 0)),
        "%d items".formatted(plan.itemCount()));
    return masses;
  }

  /** Last blocks of several requests in one kernel, each over copies of the documents; times are of one request. */
  private void together(
      String what, int n, int samples, List<CudaKvSegment> documents, CudaKvSegment instruction) {
    List<BatchPlan.Sequence> batch = new ArrayList<>();
    List<List<CudaKvSegment>> scored = new ArrayList<>();
    Random random = new Random(n);
    for (int requests = 1; requests <= FusedLayers.MOST; requests *= 2) {
      while (batch.size() < requests) {
        List<CudaKvSegment> own = batch.isEmpty() ? documents : documents.stream().map(this::copy).toList();
        CudaKvSegment last = segment(LAST, shape.layer, LAST_POSITION, n + 1);
        batch.add(with(new BatchPlan.Sequence(tokens(random, LAST), LAST_POSITION, List.of(), last, false), instruction,
            own));
        scored.add(own);
      }
      BatchPlan plan = skinny.prepare(batch, requests * n);
      for (int i = 0; i < requests; i++) {
        plan.addProbe(scored.get(i));
        plan.pick(2 * i, new int[] {(i + 1) * LAST - 2, (i + 1) * LAST - 1});
      }
      plan.upload();
      List<Integer> rows = Collections.nCopies(requests, 2);
      Runnable run = () -> skinny.run(plan, shape.layer, SkinnyEngine.Tiles.WIDE, rows, 0);
      run.run();
      double[] times = timer.sample(samples, run);
      for (int i = 0; i < times.length; i++) {
        times[i] /= requests;
      }
      timer.note(
          shape.name(), "%s-%d".formatted(what, requests), n, times, "of each of %d requests".formatted(requests));
    }
  }

  /** A tenth of the documents is read first. */
  private void halfWarm(
      int n, int samples, List<BatchPlan.Sequence> missing, BatchPlan.Sequence last, List<CudaKvSegment> documents) {
    BatchPlan reading = prefill.prepare(missing, Products.FUSED);
    reading.upload();
    BatchPlan plan = planned(skinny, last, documents);
    Runnable read = () -> {
      prefill.run(reading, shape.layer, Products.FUSED);
      prefill.nextKeys(reading, shape.layer, Products.FUSED);
    };
    read.run();
    device.synchronize("Reading %d documents".formatted(missing.size()));
    try (CudaGraph graph = device.capture(read)) {
      timer.note(shape.name(), "half-warm", n, timer.sample(samples, () -> {
        graph.launch();
        skinny.run(plan, shape.layer, SkinnyEngine.Tiles.WIDE, List.of(2), 0);
      }), "%d documents read".formatted(missing.size()));
    }
  }

  private CudaKvSegment quantised(CudaKvSegment document) {
    CudaKvSegment.Shape int8 = document.shape.in(KvCodec.INT8);
    CudaKvSegment coded = new CudaKvSegment(int8, device.allocate(int8.bytes(), "a segment"), document.contentId());
    owned.add(coded.address());
    kernels.quantise.launch(int8.blocks(), 1, 256, document.address(), coded.reference(), int8.slots(), int8.kvHeads(),
        int8.headSize());
    return coded;
  }

  private CudaKvSegment copy(CudaKvSegment document) {
    long address = device.allocate(document.bytes(), "a segment");
    owned.add(address);
    device.copy(address, document.address(), document.bytes());
    return new CudaKvSegment(document.shape, address, document.contentId());
  }

  private CudaKvSegment everyTenth(CudaKvSegment document) {
    int[] kept = IntStream.range(0, DOCUMENT).filter(i -> i % 10 == 0).toArray();
    return editor.gather(List.of(document), kept, document.shape.codec(), INSTRUCTION, DOCUMENT);
  }

  /** Outputs of tiles to compare, the default last; 192 do not hold whole heads of 128. */
  private List<Integer> tiles() {
    return config.headSize() == 64 ? List.of(256, 192) : List.of(256);
  }

  private float[] masses(int n) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment to = arena.allocate(4L * n, 8);
      device.download(to, probe.masses(0));
      device.synchronize("Reading masses");
      return to.toArray(JAVA_FLOAT);
    }
  }

  private int[] tokens(Random random, int count) {
    return random.ints(count, 0, config.vocabulary()).toArray();
  }

  void decode(int samples) {
    int capacity = 768;
    CudaKvSegment own = segment(capacity, config.layers(), 0, 1);
    Random random = new Random(7);
    int[] prompt = tokens(random, PROMPT);
    BatchPlan read = prefill.prepare(
        List.of(new BatchPlan.Sequence(prompt, 0, List.of(), own, false)), Products.FUSED);
    read.upload();
    prefill.run(read, config.layers(), Products.FUSED);
    device.synchronize("Reading the prompt");
    try (CudaGraph graph = device.capture(() -> prefill.run(read, config.layers(), Products.FUSED))) {
      timer.note(shape.name(), "prefill-600", 0, timer.sample(samples, graph::launch), "");
    }
    BatchPlan plan = skinny.prepare(List.of(new BatchPlan.Sequence(new int[] {5}, 0, List.of(), own, false)), 0);
    long history = device.allocate(4L * capacity, "tokens");
    plan.layGrowing(own, prompt[PROMPT - 1], PROMPT);
    plan.upload();
    List<String> texts = new ArrayList<>();
    try (CudaGraph graph = skinny.greedyStep(plan, history, capacity)) {
      Runnable generate = () -> {
        plan.layGrowing(own, prompt[PROMPT - 1], PROMPT);
        plan.upload();
        for (int i = 0; i < NEW_TOKENS; i++) {
          graph.launch();
        }
      };
      for (int i = 0; i < 2; i++) {
        generate.run();
        device.synchronize("Decoding");
        texts.add(Arrays.toString(ints(history + 4L * PROMPT, NEW_TOKENS)));
      }
      double[] times = timer.sample(samples, generate);
      for (int i = 0; i < times.length; i++) {
        times[i] /= NEW_TOKENS;
      }
      timer.note(shape.name(), "decode", 0, times,
          texts.get(0).equals(texts.get(1)) ? "same tokens twice" : "TOKENS DIFFER");
    }
    out.println("  decoded " + texts.getFirst());
  }

  /** What is measured of decoding over compressed contexts. */
  BenchmarkedDecoding decoding() {
    return new BenchmarkedDecoding(device, timer, shape.name(), kernels, weights, skinny, editor);
  }

  private int[] ints(long address, int count) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment to = arena.allocate(4L * count, 8);
      device.download(to, address);
      device.synchronize("Reading tokens");
      return to.toArray(JAVA_INT);
    }
  }

  @Override
  public void close() {
    device.synchronize("Finishing");
    owned.forEach(device::free);
    fp8.free(device);
  }

  private static double sum(float[] values) {
    double sum = 0;
    for (float value : values) {
      sum += value;
    }
    return sum;
  }

  private static double variation(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += Math.abs(a[i] - b[i]);
    }
    return sum / 2;
  }
}
