package dev.attune.llm.cuda;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.KvSegment;
import dev.attune.llm.ModelConfig;
import dev.attune.llm.OwningBackend;
import dev.attune.llm.PassValidation;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.kv.KvCodec;
import dev.attune.llm.lora.LoraAdapter;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Llama-architecture inference on one NVIDIA GPU in bf16 with fp32 sums. Calls are served one after the other by the
 * thread that owns the device.
 */
public final class CudaBackend implements OwningBackend {

  /** Share of the free memory that segments may take when no limit is set; activations and graphs need the rest. */
  private static final double SEGMENT_SHARE = 0.7;

  private final ModelConfig config;
  private final CudaDevice device;
  private final CudaWeights weights;
  private final boolean fp8;
  private final Kernels kernels;
  private final SegmentMemory memory;
  private final SegmentEditor editor;
  private final PassRunner runner;
  private final WorkCounters counters;
  private final ExecutorService owner;
  private final String description;
  /** Told once, shared with backends made by {@link #with}. */
  private final Loss loss;

  /** Tells of the loss of the device, the first time. */
  private static final class Loss {
    private final Consumer<CudaException> listener;
    private final AtomicBoolean told = new AtomicBoolean();

    Loss(Consumer<CudaException> listener) {
      this.listener = listener;
    }

    void check(RuntimeException e) {
      if (e instanceof CudaException failure && failure.deviceLost() && !told.getAndSet(true)) {
        listener.accept(failure);
      }
    }
  }

  private CudaBackend(
      ExecutorService owner, CudaDevice device, CudaWeights weights, Nvrtc compiler, boolean fp8, long memoryLimit,
      Loss loss) {
    this.loss = loss;
    this.owner = owner;
    this.device = device;
    this.weights = weights;
    this.config = weights.config();
    kernels = new Kernels(device, compiler, config);
    counters = new WorkCounters(config);
    this.fp8 = fp8;
    Fp8Weights quantised = fp8 ? new Fp8Weights(device, kernels, weights) : null;
    long limit = memoryLimit > 0 ? memoryLimit : (long) (device.freeBytes() * SEGMENT_SHARE);
    memory = new SegmentMemory(device, limit);
    editor = new SegmentEditor(device, kernels, memory);
    runner = new PassRunner(device, kernels, weights, quantised, memory, counters);
    description = "%s, driver %d from %s, NVRTC from %s, %d MB for keys and values".formatted(
        device.name, device.driverVersion(), device.driver.place, compiler.place, limit >> 20);
  }

  private CudaBackend(CudaBackend base, CudaWeights weights) {
    this.owner = base.owner;
    this.device = base.device;
    this.weights = weights;
    this.config = base.config;
    loss = base.loss;
    kernels = base.kernels;
    memory = base.memory;
    editor = base.editor;
    counters = new WorkCounters(config);
    fp8 = base.fp8;
    runner = new PassRunner(
        device, kernels, weights, fp8 ? new Fp8Weights(device, kernels, weights) : null, memory, counters);
    description = base.description;
  }

  /**
   * Copies the weights to the first GPU and compiles the kernels.
   *
   * @param fp8 whether documents and prompts are read with projections in FP8 (E4M3)
   * @param memoryLimit bytes of device memory for keys and values, 0 for a share of what is free
   * @param lost told once, by the thread of the request, when the device fails in a way that ends its use
   * @throws CudaException when there is no driver, no GPU of compute capability 9.0, no NVRTC, too little memory, or
   *     the kernels do not support the model; the message says which
   */
  public static CudaBackend load(
      Checkpoint source, boolean fp8, long memoryLimit, Consumer<CudaException> lost) {
    ModelConfig config = source.config();
    Kernels.refusal(config).ifPresent(reason -> {
      throw new CudaException("The CUDA kernels cannot run " + config.name() + ": " + reason);
    });
    if (source.has("blk.0.attn_q.bias") || source.has("blk.0.attn_q_norm.weight")) {
      throw new CudaException("The CUDA kernels cannot run " + config.name() + ": biases and norms of heads are not "
          + "supported");
    }
    ExecutorService owner = Executors.newSingleThreadExecutor(
        Thread.ofPlatform().daemon().name("attune-llm-cuda").stackSize(Nvrtc.STACK_BYTES).factory());
    try {
      return await(owner, null, () -> {
        CudaDevice device = new CudaDevice(new CudaDriver(), 0);
        try {
          Nvrtc compiler = new Nvrtc();
          return new CudaBackend(owner, device, CudaWeights.load(device, source), compiler, fp8, memoryLimit,
              new Loss(lost));
        } catch (RuntimeException | Error e) {
          device.close();
          throw e;
        }
      });
    } catch (RuntimeException | Error e) {
      owner.shutdownNow();
      throw e;
    }
  }

  /** The device, the libraries and where they were found; for the log. */
  public String description() {
    return description;
  }

  @Override
  public String name() {
    return "cuda";
  }

  @Override
  public String kvPolicy() {
    return "full+bf16";
  }

  /** Bytes of weights on the device. */
  @Override
  public long weightBytes() {
    return weights.bytes();
  }

  @Override
  public List<PassResult> run(List<Pass> passes) {
    for (Pass pass : passes) {
      pass.context().forEach(this::own);
      PassValidation.check(pass, config);
      if (pass.probe() != null && pass.probe().byHead()) {
        throw new UnsupportedOperationException("Backend " + name() + " does not tell the heads of a probe apart");
      }
      if (pass.probe() != null && pass.probe().rows().length > kernels.maxProbeRows()) {
        throw new IllegalArgumentException("A probe of %d rows; at most %d are supported"
            .formatted(pass.probe().rows().length, kernels.maxProbeRows()));
      }
    }
    return await(() -> runner.run(passes));
  }

  @Override
  public KvSegment concat(List<KvSegment> segments) {
    return retain(segments, (layer, kvHead, available) -> IntStream.range(0, available).toArray());
  }

  /** Of all heads alike: heads of different length, and slots that stand for others, are not supported. */
  @Override
  public KvSegment retain(List<KvSegment> segments, Retained retained) {
    if (segments.isEmpty()) {
      throw new IllegalArgumentException("Nothing to put together");
    }
    List<CudaKvSegment> parts = segments.stream().map(this::own).toList();
    CudaKvSegment.Shape first = parts.getFirst().shape;
    int tokens = 0;
    for (CudaKvSegment part : parts) {
      CudaKvSegment.Shape s = part.shape;
      if (s.firstPosition() != first.firstPosition() + tokens) {
        throw new IllegalArgumentException("Segments do not follow each other: position %d after %d"
            .formatted(s.firstPosition(), first.firstPosition() + tokens - 1));
      }
      if (s.layers() != first.layers() || s.valueLayers() != first.valueLayers()) {
        throw new IllegalArgumentException("Segments differ in layers: " + s + " and " + first);
      }
      tokens += s.tokens();
    }
    int[] kept = SegmentEditor.uniform(parts, retained);
    KvCodec codec = parts.size() == 1 ? first.codec() : KvCodec.BF16;
    int all = tokens;
    return await(() -> editor.gather(parts, kept, codec, first.firstPosition(), all));
  }

  @Override
  public KvSegment slice(KvSegment segment, int from, int to) {
    CudaKvSegment source = own(segment);
    if (source.reduced() || from < 0 || from >= to || to > source.tokens()) {
      throw new IllegalArgumentException("Tokens %d to %d cannot be cut out of %d%s"
          .formatted(from, to, source.tokens(), source.reduced() ? " that were reduced" : ""));
    }
    return await(() -> editor.gather(List.of(source), IntStream.range(from, to).toArray(), source.shape.codec(),
        source.firstPosition() + from, to - from));
  }

  @Override
  public KvSegment recode(KvSegment segment, KvCodec codec) {
    if (codec == KvCodec.F32) {
      throw new UnsupportedOperationException("The CUDA backend keeps segments in bf16 or int8, not " + codec);
    }
    CudaKvSegment own = own(segment);
    return await(() -> editor.recode(own, codec));
  }

  /** A copy in host memory; valid beyond the life of the segment. */
  @Override
  public MemorySegment image(KvSegment segment) {
    CudaKvSegment own = own(segment);
    return await(() -> {
      MemorySegment image = Arena.ofAuto().allocate(SegmentImage.HEADER + own.bytes(), 64);
      SegmentImage.write(image, own);
      if (own.bytes() > 0) {
        device.download(image.asSlice(SegmentImage.HEADER), own.address);
        device.synchronize("Copying a segment of %d tokens".formatted(own.tokens()));
      }
      return image.asReadOnly();
    });
  }

  /** A copy on the device: the image is not used after the call. */
  @Override
  public KvSegment restore(MemorySegment image) {
    CudaKvSegment.Shape shape = SegmentImage.shape(image);
    if (shape.kvHeads() != config.kvHeads() || shape.headSize() != config.headSize()
        || shape.layers() > config.layers()) {
      throw new IllegalArgumentException("KV image was not made by a backend of this model: " + shape);
    }
    return await(() -> {
      CudaKvSegment segment = memory.allocate(shape, SegmentImage.contentId(image));
      if (shape.bytes() > 0) {
        try (Arena arena = Arena.ofConfined()) {
          MemorySegment numbers = image.asSlice(SegmentImage.HEADER, shape.bytes());
          device.upload(segment.address, numbers.isNative() ? numbers : arena.allocate(shape.bytes(), 64).copyFrom(numbers));
          device.synchronize("Copying a segment of %d tokens".formatted(shape.tokens()));
        }
      }
      return segment;
    });
  }

  /** The base weights with the adapter added, as a second copy on the device; closed with this backend. */
  @Override
  public InferenceBackend with(LoraAdapter adapter) {
    return await(() -> new CudaBackend(this, weights.with(device, kernels, adapter)));
  }

  @Override
  public Work work() {
    return counters.work();
  }

  private CudaKvSegment own(KvSegment segment) {
    if (!(segment instanceof CudaKvSegment own) || own.shape.kvHeads() != config.kvHeads()
        || own.shape.headSize() != config.headSize() || own.shape.layers() > config.layers()) {
      throw new IllegalArgumentException("Segment was not made by a backend of this model: " + segment);
    }
    return own;
  }

  private <T> T await(Callable<T> work) {
    return await(owner, loss, work);
  }

  private static <T> T await(ExecutorService owner, @Nullable Loss loss, Callable<T> work) {
    Future<T> result = owner.submit(work);
    try {
      return result.get();
    } catch (InterruptedException e) {
      result.cancel(true);
      Thread.currentThread().interrupt();
      throw new CancellationException("Interrupted while waiting for the GPU");
    } catch (ExecutionException e) {
      switch (e.getCause()) {
        case RuntimeException cause -> {
          if (loss != null) {
            loss.check(cause);
          }
          throw cause;
        }
        case Error cause -> throw cause;
        case null, default -> throw new IllegalStateException(e);
      }
    }
  }

  /** Frees the device, also for backends made by {@link #with}; passes under way are ended first. */
  @Override
  public void close() {
    try {
      await(() -> {
        device.close();
        return true;
      });
    } finally {
      owner.shutdown();
    }
  }
}
