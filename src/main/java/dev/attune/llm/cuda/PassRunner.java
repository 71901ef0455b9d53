package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.ModelConfig;
import dev.attune.llm.kv.KvCodec;
import dev.attune.llm.kv.KvPolicy;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.stream.IntStream;

/** Runs batches of passes by the engines and collects their results; on the thread of its device. */
final class PassRunner {

  private final CudaDevice device;
  private final ModelConfig config;
  private final Kernels kernels;
  private final KvPolicy policy;
  private final WorkCounters counters;
  private final ProbeLauncher probe;
  private final PrefillEngine prefill;
  private final SkinnyEngine skinny;
  /** Of passes of many tokens. */
  private final PrefillEngine.Products how;
  private final int paddedVocabulary;
  private final long queries;
  private long logits;
  private MemorySegment pinned;

  PassRunner(CudaDevice device, Kernels kernels, ModelWeights model, KvPolicy policy, WorkCounters counters) {
    CudaWeights weights = model.full();
    Fp8Weights fp8 = model.fp8();
    this.device = device;
    this.config = weights.config();
    this.kernels = kernels;
    this.policy = policy;
    this.counters = counters;
    probe = new ProbeLauncher(device, config, kernels);
    SkinnyProducts products = new SkinnyProducts(device, kernels, weights);
    how = fp8 == null ? PrefillEngine.Products.FUSED : PrefillEngine.Products.FP8;
    prefill = new PrefillEngine(device, kernels, weights, products, null, fp8);
    skinny = new SkinnyEngine(device, kernels, weights, fp8, products, probe);
    queries = device.allocate(2L * SkinnyProducts.MAX_TOKENS * config.heads() * config.headSize(), "probed queries");
    paddedVocabulary = weights.paddedVocabulary();
    pinned = device.allocatePinned(4L * paddedVocabulary);
  }

  /** Bytes that a pass takes beside its context. */
  static long reserve(Pass pass, ModelConfig config, KvPolicy policy) {
    // All numbers of 16 bits take the same room.
    CudaKvSegment.Shape own = shape(pass, config, KvCodec.FP16);
    return SegmentMemory.size(own) + (keepsInt8(pass, policy) ? SegmentMemory.size(own.in(KvCodec.INT8)) : 0);
  }

  /** Whether the pass computes with keys and values in 16 bits and leaves them in int8. */
  private static boolean keepsInt8(Pass pass, KvPolicy policy) {
    return pass.keepKv() && policy.codec(pass.tokens().length) == KvCodec.INT8;
  }

  /** Attention reads a pass's own keys and values from a segment, kept or not. */
  private static CudaKvSegment.Shape shape(Pass pass, ModelConfig config, KvCodec codec) {
    int layers = pass.keepKv() ? Math.min(pass.layers() + 1, config.layers()) : pass.layers();
    return CudaKvSegment.Shape.whole(codec, config.kvHeads(), config.headSize(), pass.tokens().length, layers,
        pass.layers(), pass.firstPosition());
  }

  /**
   * Runs one batch.
   *
   * @param passes of {@link PassBatches}
   * @param use of their contexts, with what each {@linkplain #reserve reserves}
   */
  List<PassResult> run(List<Pass> passes, SegmentUse use) {
    List<BatchPlan.Sequence> sequences = new ArrayList<>();
    KvCodec codec = kernels.numbers.codec;
    try {
      for (Pass pass : passes) {
        CudaKvSegment own = pass.keepKv() && !keepsInt8(pass, policy)
            ? use.allocate(device, shape(pass, config, codec), ContentIds.of(pass, codec))
            : use.scratch(device, shape(pass, config, codec));
        sequences.add(new BatchPlan.Sequence(pass.tokens(), pass.firstPosition(), ContentIds.inOrder(pass.context()),
            own, pass.keepKv() && pass.layers() < config.layers()));
      }
      List<PassResult> results = PassBatches.way(passes.getFirst(), config).few()
          ? runSkinny(passes, sequences) : runPrefill(passes, sequences);
      passes.forEach(counters::add);
      return passes.stream().anyMatch(pass -> keepsInt8(pass, policy)) ? inInt8(passes, results, use) : results;
    } finally {
      sequences.stream().map(BatchPlan.Sequence::own).filter(own -> own.item() == null)
          .forEach(own -> use.discard(device, own));
    }
  }

  /**
   * The largest magnitude of what a pass of many tokens computes in 16 bits: the residual as it is kept, queries, keys,
   * values and SwiGLU's outputs.
   *
   * @param use with what it {@linkplain #reserve reserves}
   */
  float largest(Pass pass, SegmentUse use) {
    long largest = device.uploadNew(new float[1], "the largest number");
    prefill.watch(largest);
    try {
      run(List.of(pass), use);
      device.download(pinned.asSlice(0, 4), largest);
      device.synchronize("Looking for the largest number");
      return pinned.get(JAVA_FLOAT, 0);
    } finally {
      prefill.watch(0);
      device.free(largest);
    }
  }

  /** The results with what they keep in int8, where that is the policy. */
  private List<PassResult> inInt8(List<Pass> passes, List<PassResult> results, SegmentUse use) {
    List<PassResult> coded = new ArrayList<>();
    for (int i = 0; i < results.size(); i++) {
      PassResult result = results.get(i);
      if (keepsInt8(passes.get(i), policy) && result.kv() instanceof CudaKvSegment own) {
        long contentId = ContentIds.of(passes.get(i), KvCodec.INT8);
        CudaKvSegment int8 = use.allocate(device, own.shape.in(KvCodec.INT8), contentId);
        SegmentEditor.quantise(kernels, own, int8);
        result = new PassResult(int8, result.logits(), result.attention());
      }
      coded.add(result);
    }
    device.synchronize("Quantising keys and values");
    return coded;
  }

  private List<PassResult> runSkinny(List<Pass> passes, List<BatchPlan.Sequence> sequences) {
    List<List<CudaKvSegment>> scored = passes.stream()
        .map(pass -> pass.probe() == null ? List.<CudaKvSegment>of() : scored(pass, pass.probe())).toList();
    if (probe.reserve(scored.stream().mapToInt(List::size).max().orElse(0))) {
      skinny.forgetGraphs();
    }
    BatchPlan plan = skinny.prepare(sequences, scored.stream().mapToInt(List::size).sum());
    List<Integer> probedRows = new ArrayList<>();
    int picks = 0;
    int row = 0;
    for (int i = 0; i < passes.size(); i++) {
      Pass pass = passes.get(i);
      if (pass.probe() != null) {
        plan.addProbe(scored.get(i));
        plan.pick(picks, rows(pass.probe(), row));
        probedRows.add(pass.probe().rows().length);
        picks += pass.probe().rows().length;
      }
      row += pass.tokens().length;
    }
    int[][] wanted = logitRows(passes);
    int count = 0;
    for (int[] rows : wanted) {
      plan.pick(picks + count, rows);
      count += rows.length;
    }
    plan.upload();
    long out = skinny.run(plan, passes.getFirst().layers(), skinny.tiles(sequences), probedRows, count);
    List<float[]> masses = masses(passes, scored);
    float[][] allLogits = download(out, count);
    List<PassResult> results = new ArrayList<>();
    int at = 0;
    for (int i = 0; i < passes.size(); i++) {
      float[][] own = Arrays.copyOfRange(allLogits, at, at + wanted[i].length);
      at += wanted[i].length;
      results.add(new PassResult(passes.get(i).keepKv() ? sequences.get(i).own() : null, own, masses.get(i)));
    }
    return results;
  }

  /** Rows of a probe in a batch where its pass begins at {@code first}. */
  private static int[] rows(Probe probe, int first) {
    return Arrays.stream(probe.rows()).map(row -> first + row).toArray();
  }

  private List<PassResult> runPrefill(List<Pass> passes, List<BatchPlan.Sequence> sequences) {
    int layers = passes.getFirst().layers();
    BatchPlan plan = prefill.prepare(sequences, how);
    plan.upload();
    prefill.run(plan, layers, how, layer -> {
      if (Thread.interrupted()) {
        // What was launched still uses the plan.
        device.synchronize("Waiting for a cancelled pass");
        throw new CancellationException("Forward pass cancelled at layer " + layer);
      }
    });
    sequences.forEach(sequence -> prefill.look(sequence.own().address(), sequence.own().shape.bytes() / 2));
    if (sequences.stream().anyMatch(BatchPlan.Sequence::keepsNextKeys)) {
      prefill.nextKeys(plan, layers, how);
    }
    int[][] wanted = logitRows(passes);
    List<PassResult> results = new ArrayList<>();
    int row = 0;
    for (int i = 0; i < passes.size(); i++) {
      Pass pass = passes.get(i);
      float[] masses = pass.probe() == null ? new float[0] : probe(plan, pass, pass.probe(), row);
      results.add(new PassResult(
          pass.keepKv() ? sequences.get(i).own() : null, prefillLogits(plan, wanted[i]), masses));
      row += pass.tokens().length;
    }
    device.synchronize("Running %d tokens through %d layers".formatted(row, layers));
    return results;
  }

  private float[] probe(BatchPlan plan, Pass pass, Probe probed, int firstRow) {
    List<CudaKvSegment> scored = scored(pass, probed);
    if (probe.reserve(scored.size())) {
      skinny.forgetGraphs();
    }
    // The plan's own list holds no more spans than its batch; a probe's are among them.
    plan.probe(scored);
    int[] rows = rows(probed, firstRow);
    plan.pick(0, rows);
    plan.upload();
    prefill.queries(plan, pass.layers(), plan.picks, rows.length, queries);
    probe.run(plan, 0, pass.layers(), rows.length, queries);
    return masses(List.of(pass), List.of(scored)).getFirst();
  }

  private float[][] prefillLogits(BatchPlan plan, int[] rows) {
    float[][] result = new float[rows.length][];
    for (int from = 0; from < rows.length; from += SkinnyProducts.MAX_TOKENS) {
      int[] piece = Arrays.copyOfRange(rows, from, Math.min(rows.length, from + SkinnyProducts.MAX_TOKENS));
      if (logits == 0) {
        logits = device.allocate(4L * SkinnyProducts.MAX_TOKENS * paddedVocabulary, "logits");
      }
      plan.pick(0, piece);
      plan.upload();
      prefill.logits(plan.picks, piece.length, logits);
      System.arraycopy(download(logits, piece.length), 0, result, from, piece.length);
    }
    return result;
  }

  /** The batch's rows whose logits each pass wants. */
  private static int[][] logitRows(List<Pass> passes) {
    int[][] rows = new int[passes.size()][];
    int first = 0;
    for (int i = 0; i < rows.length; i++) {
      int n = passes.get(i).tokens().length;
      int from = passes.get(i).logits() == Logits.NONE ? n : passes.get(i).logits() == Logits.LAST ? n - 1 : 0;
      rows[i] = IntStream.range(first + from, first + n).toArray();
      first += n;
    }
    return rows;
  }

  private static List<CudaKvSegment> scored(Pass pass, Probe probed) {
    return ContentIds.inOrder(Arrays.stream(probed.scored()).mapToObj(i -> pass.context().get(i)).toList());
  }

  /**
   * Masses of each pass's probe in its order: the device has them in the order of content.
   *
   * @param scored by the probe of each pass, as on the device
   */
  private List<float[]> masses(List<Pass> passes, List<List<CudaKvSegment>> scored) {
    reservePinned(4L * scored.stream().mapToInt(List::size).sum());
    List<MemorySegment> all = new ArrayList<>();
    long at = 0;
    int index = 0;
    for (int i = 0; i < passes.size(); i++) {
      MemorySegment to = pinned.asSlice(at, 4L * scored.get(i).size());
      if (passes.get(i).probe() != null) {
        device.download(to, probe.masses(index++));
      }
      all.add(to);
      at += to.byteSize();
    }
    if (index > 0) {
      device.synchronize("%d probes at layer %d".formatted(index, passes.getFirst().layers()));
    }
    List<float[]> results = new ArrayList<>();
    for (int i = 0; i < passes.size(); i++) {
      Probe probed = passes.get(i).probe();
      results.add(probed == null ? new float[0] : inOrder(passes.get(i), probed, all.get(i)));
    }
    return results;
  }

  private static float[] inOrder(Pass pass, Probe probed, MemorySegment byPlace) {
    int[] scored = probed.scored();
    // Stable, as the order of content is: equal segments keep the order of the probe.
    Integer[] byContent = IntStream.range(0, scored.length).boxed().toArray(Integer[]::new);
    Arrays.sort(byContent, Comparator.comparingLong(i -> pass.context().get(scored[i]).contentId()));
    float[] masses = new float[scored.length];
    for (int i = 0; i < masses.length; i++) {
      masses[byContent[i]] = byPlace.getAtIndex(JAVA_FLOAT, i);
    }
    return masses;
  }

  private float[][] download(long from, int rows) {
    long rowBytes = 4L * paddedVocabulary;
    reservePinned(rows * rowBytes);
    float[][] result = new float[rows][];
    if (rows > 0) {
      device.download(pinned.asSlice(0, rows * rowBytes), from);
    }
    device.synchronize("Computing logits of %d tokens".formatted(rows));
    for (int i = 0; i < rows; i++) {
      result[i] = pinned.asSlice(i * rowBytes, 4L * config.vocabulary()).toArray(JAVA_FLOAT);
    }
    return result;
  }

  private void reservePinned(long bytes) {
    if (pinned.byteSize() < bytes) {
      MemorySegment larger = device.allocatePinned(Math.max(bytes, 2 * pinned.byteSize()));
      // What was copied into it has been read.
      device.freePinned(pinned);
      pinned = larger;
    }
  }
}
