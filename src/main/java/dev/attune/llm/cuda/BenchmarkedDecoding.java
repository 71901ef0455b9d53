package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import dev.attune.llm.InferenceBackend.Retained;
import dev.attune.llm.ModelConfig;
import dev.attune.llm.kv.KeptSlots;
import dev.attune.llm.kv.KvCodec;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;

/** Steps of decoding over contexts as KV policies leave them, and what it takes to have their logits in the heap. */
final class BenchmarkedDecoding implements AutoCloseable {

  /** Of razor. */
  private static final int WINDOW = 256;
  private static final int SINKS = 4;
  private static final int RETRIEVAL = 7;
  /** Within the shape's positions. */
  private static final int POSITION = 2048;

  private final CudaDevice device;
  private final DeviceTimer timer;
  private final String shape;
  private final Kernels kernels;
  private final CudaWeights weights;
  private final ModelConfig config;
  private final SkinnyEngine skinny;
  private final SegmentEditor editor;
  private final List<Long> owned = new ArrayList<>();

  BenchmarkedDecoding(CudaDevice device, DeviceTimer timer, String shape, Kernels kernels, CudaWeights weights,
      SkinnyEngine skinny, SegmentEditor editor) {
    this.device = device;
    this.timer = timer;
    this.shape = shape;
    this.kernels = kernels;
    this.weights = weights;
    this.config = weights.config();
    this.skinny = skinny;
    this.editor = editor;
  }

  /**
   * A step over contexts of {@code length} tokens: everything kept, and razor with a seventh of the heads whole, each
   * in 16 bits and int8.
   */
  void compressed(int length, int samples) {
    CudaKvSegment whole = random(length, 1);
    CudaKvSegment own = random(1, 2);
    for (KvCodec codec : new KvCodec[] {kernels.numbers.codec, KvCodec.INT8}) {
      CudaKvSegment full = editor.recode(whole, codec);
      step("decode-%d-full-%s".formatted(length, codec), samples, List.of(full), own);
      CudaKvSegment aged = slice(full, 0, length - WINDOW);
      CudaKvSegment window = slice(full, length - WINDOW, length);
      for (boolean compensated : new boolean[] {false, true}) {
        KeptSlots kept = KeptSlots.of(List.of(aged), config.kvHeads(), razor(compensated));
        CudaKvSegment reduced = editor.retain(List.of(aged), kept, codec, 0, aged.tokens());
        step("decode-%d-razor%s-%s".formatted(length, compensated ? "-compensated" : "", codec), samples,
            List.of(reduced, window), own);
      }
    }
  }

  private CudaKvSegment random(int tokens, int id) {
    int layers = weights.layers().size();
    CudaKvSegment.Shape kv = CudaKvSegment.Shape.whole(
        kernels.numbers.codec, config.kvHeads(), config.headSize(), tokens, layers, layers, 0);
    owned.add(GpuBenchmark.random(device, kernels, kv.bytes() / 2, 0, 1, tokens));
    return new CudaKvSegment(kv, owned.getLast(), id);
  }

  private CudaKvSegment slice(CudaKvSegment segment, int from, int to) {
    return editor.gather(
        List.of(segment), IntStream.range(from, to).toArray(), segment.shape.codec(), from, to - from);
  }

  private Retained razor(boolean compensated) {
    return new Retained() {
      @Override
      public int[] slots(int layer, int kvHead, int available) {
        return IntStream.range(0, retrieves(layer, kvHead) ? available : Math.min(SINKS, available)).toArray();
      }

      @Override
      public boolean compensated(int layer, int kvHead) {
        return compensated && !retrieves(layer, kvHead);
      }
    };
  }

  private boolean retrieves(int layer, int kvHead) {
    return (layer * config.kvHeads() + kvHead) % RETRIEVAL == RETRIEVAL / 2;
  }

  private void step(String what, int samples, List<CudaKvSegment> context, CudaKvSegment own) {
    List<BatchPlan.Sequence> batch = List.of(new BatchPlan.Sequence(new int[] {5}, POSITION, context, own, false));
    BatchPlan plan = skinny.prepare(batch, 0);
    plan.pick(0, new int[] {0});
    plan.upload();
    Runnable step = () -> skinny.run(plan, weights.layers().size(), skinny.tiles(batch), List.of(), 1);
    step.run();
    timer.note(shape, what.toLowerCase(Locale.ROOT), 0, timer.sample(samples, step),
        "%.1f MB of keys and values".formatted(context.stream().mapToLong(CudaKvSegment::bytes).sum() / 1e6));
  }

  /** Time, by the clock of the host, to have the logits of one token in the heap once they are there. */
  void logitsToHost(int samples) {
    long bytes = 4L * weights.paddedVocabulary();
    long logits = device.allocate(bytes, "logits");
    owned.add(logits);
    device.fill(logits, 0, bytes);
    MemorySegment pinned = device.allocatePinned(bytes);
    double[] times = new double[samples];
    float sum = 0;
    for (int i = -samples; i < samples; i++) {
      device.synchronize("Waiting");
      long from = System.nanoTime();
      device.download(pinned, logits);
      device.synchronize("Copying logits");
      sum += pinned.asSlice(0, 4L * config.vocabulary()).toArray(JAVA_FLOAT)[7];
      times[Math.max(i, 0)] = (System.nanoTime() - from) / 1e6;
    }
    device.freePinned(pinned);
    timer.note(shape, "logits-to-host", 0, times, "%d bytes, sum %.0f".formatted(bytes, sum));
  }

  @Override
  public void close() {
    device.synchronize("Finishing");
    owned.forEach(device::free);
  }
}
