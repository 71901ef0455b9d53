package dev.attune.llm.cuda;

import dev.attune.llm.InferenceBackend;
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
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Llama-architecture inference on one NVIDIA GPU in 16 bits ({@link Numbers}) with fp32 sums. A backend has threads
 * with a stream each ({@link Lanes}); those made by {@link #with} and {@link #beside} have their own, so that ranking
 * and suggestions share the GPU.
 */
public final class CudaBackend implements OwningBackend {

  private static final Logger log = LoggerFactory.getLogger(CudaBackend.class);

  /** Usual threads of a backend: one lays out the next pass and waits for its copies while another's is computed. */
  public static final int STREAMS = 2;
  /** Calls beyond the lanes whose documents may be on their way to the device. */
  private static final int BRINGING = 2;

  private final CudaShared shared;
  private final Lanes lanes;
  private final LaneCalls calls;
  /** Without an adapter. */
  private final ModelWeights original;
  private final ModelWeights weights;
  private final ModelConfig config;
  private final int maxProbeRows;
  private final WorkCounters counters;
  private final boolean base;

  /** Over weights that {@code source} makes, from {@code original} or, where that is null, as the first. */
  private CudaBackend(
      CudaShared shared, Lanes lanes, @Nullable ModelWeights original, Function<Lane, ModelWeights> source) {
    this.shared = shared;
    this.lanes = lanes;
    calls = new LaneCalls(shared, lanes);
    base = original == null;
    weights = calls.on(source);
    this.original = original == null ? weights : original;
    config = weights.full().config();
    maxProbeRows = calls.on(lane -> lane.kernels.maxProbeRows());
    counters = new WorkCounters(config);
  }

  /** The weights of another, with lanes of its own. */
  private CudaBackend(CudaBackend other) {
    shared = other.shared;
    lanes = shared.lanes("attune-llm-cuda-beside");
    calls = new LaneCalls(shared, lanes);
    base = false;
    original = other.original;
    weights = other.weights;
    config = other.config;
    maxProbeRows = other.maxProbeRows;
    counters = new WorkCounters(config);
  }

  /**
   * How the GPU is used.
   *
   * @param policy how sequences keep keys and values; one that says fp16 or bf16 becomes that of {@code numbers}
   * @param numbers of 16 bits; {@link Numbers#BF16} is taken where weights, or activations of a text that is read when
   *     they are loaded, are too large for what is asked for
   * @param fp8 whether documents and prompts are read with projections in FP8 (E4M3), and, where {@link ProductChain}
   *     fits the model, last blocks and decoding too, most weights being on the device in FP8 alone
   * @param deviceMemory bytes of device memory for keys and values, 0 for a share of what is free
   * @param hostMemory bytes of pinned host memory for keys and values that do not fit on the device, 0 for none
   * @param streams threads of each backend, {@link #STREAMS} unless something is to be measured
   * @param kernels directory where compiled kernels are kept and found again; null to compile each when it is first
   *     needed, at every start
   */
  public record Settings(
      KvPolicy policy, Numbers numbers, boolean fp8, long deviceMemory, long hostMemory, int streams,
      @Nullable Path kernels) {

    /** Makes the policy name what the device keeps. */
    public Settings {
      policy = policy.in(numbers.kept(policy.codec()));
    }

    /** Without a place for compiled kernels. */
    public Settings(
        KvPolicy policy, Numbers numbers, boolean fp8, long deviceMemory, long hostMemory, int streams) {
      this(policy, numbers, fp8, deviceMemory, hostMemory, streams, null);
    }

    private Settings in(Numbers others) {
      return new Settings(policy, others, fp8, deviceMemory, hostMemory, streams, kernels);
    }
  }

  /**
   * Copies the weights to the first GPU and compiles the kernels.
   *
   * @param lost told once, by the thread of the request, when the device fails in a way that ends its use
   * @throws CudaException when there is no driver, no GPU of compute capability 9.0, no NVRTC, too little memory, or
   *     the kernels do not support the model or the policy; the message says which
   */
  public static CudaBackend load(Checkpoint source, Settings settings, Consumer<CudaException> lost) {
    ModelConfig config = source.config();
    if (settings.policy().codec() == KvCodec.F32) {
      throw new CudaException(
          "KV policy %s is not supported: the GPU keeps 16 bits and int8".formatted(settings.policy()));
    }
    Kernels.refusal(config).ifPresent(reason -> {
      throw new CudaException("The CUDA kernels cannot run " + config.name() + ": " + reason);
    });
    if (source.has("blk.0.attn_q.bias") || source.has("blk.0.attn_q_norm.weight")) {
      throw new CudaException("The CUDA kernels cannot run " + config.name() + ": biases and norms of heads are not "
          + "supported");
    }
    try {
      return copied(source, settings, lost);
    } catch (NumberRangeException e) {
      log.warn("The GPU computes in {}: {}", Numbers.BF16, e.getMessage());
      return copied(source, settings.in(Numbers.BF16), lost);
    }
  }

  private static CudaBackend copied(Checkpoint source, Settings settings, Consumer<CudaException> lost) {
    CudaShared shared = new CudaShared(source, settings, lost);
    Lanes lanes = shared.lanes("attune-llm-cuda");
    try {
      CudaBackend backend = new CudaBackend(
          shared, lanes, null, lane -> ModelWeights.load(lane.device, lane.kernels, source, shared.kept));
      backend.calls.on(lane -> {
        shared.ready(lane.device);
        return true;
      });
      backend.checkRange();
      return backend;
    } catch (RuntimeException | Error e) {
      shared.close();
      throw e;
    }
  }

  /** Ends with a {@link NumberRangeException} where the numbers are too small for the model. */
  private void checkRange() {
    if (numbers().largest < Float.POSITIVE_INFINITY) {
      Pass text = ActivationRange.text(config);
      ActivationRange.require(numbers(), calls.on(List.of(), PassRunner.reserve(text, config, shared.settings.policy()),
          (lane, use) -> lane.runner(this::runner).largest(text, use)));
    }
  }

  /** Whether the driver of a GPU is installed; cheap where it is not. */
  public static boolean driverInstalled() {
    return NativeLibraries.exists("libcuda.so.1");
  }

  /**
   * Begins to compile the kernels of last blocks beside requests, where {@link Settings#kernels} says a place; once,
   * when what must not be without any of them, a check, has ended. From then on last blocks go together only once their
   * kernel is there, and one by one until then.
   */
  public void compileAhead() {
    shared.compileAhead();
  }

  /** The device, the libraries and where they were found; for the log. */
  public String description() {
    return shared.description();
  }

  /** What else than weights decides about the numbers that it computes. */
  public String numerics() {
    return "cuda-" + numbers() + (shared.settings.fp8() ? "-fp8" : "");
  }

  private Numbers numbers() {
    return shared.settings.numbers();
  }

  /** What is kept where, for reports. */
  public Memory memory() {
    DeviceRoom room = shared.memory().room();
    return new Memory(room.used(), room.hostUsed(), room.saved());
  }

  /**
   * Keys and values.
   *
   * @param device bytes on the device, those that nobody can reach any more and that were not given back yet among them
   * @param host bytes in pinned memory of the host
   * @param moved segments that were moved to the host to make room, since the start
   */
  public record Memory(long device, long host, long moved) {}

  @Override
  public String name() {
    return "cuda";
  }

  @Override
  public String kvPolicy() {
    return shared.settings.policy().toString();
  }

  /** Bytes of weights on the device. */
  @Override
  public long weightBytes() {
    return weights.bytes();
  }

  @Override
  public List<PassResult> run(List<Pass> passes) {
    Set<CudaKvSegment> context = Collections.newSetFromMap(new IdentityHashMap<>());
    long reserve = 0;
    for (Pass pass : passes) {
      pass.context().forEach(segment -> context.add(own(segment)));
      PassValidation.check(pass, config);
      if (pass.probe() != null && pass.probe().bySlot()) {
        throw new UnsupportedOperationException("Backend " + name() + " does not tell the slots of a probe apart");
      }
      if (pass.probe() != null && Arrays.stream(pass.probe().scored())
          .anyMatch(i -> own(pass.context().get(i)).ragged())) {
        throw new UnsupportedOperationException("Backend " + name() + " does not score segments whose heads differ");
      }
      if (pass.probe() != null && pass.probe().rows().length > maxProbeRows) {
        throw new IllegalArgumentException("A probe of %d rows; at most %d are supported"
            .formatted(pass.probe().rows().length, maxProbeRows));
      }
      reserve += PassRunner.reserve(pass, config, shared.settings.policy());
    }
    List<List<Integer>> batches = PassBatches.of(passes, config, shared::together);
    List<Lanes.Task<List<PassResult>>> tasks = new ArrayList<>();
    try {
      SegmentUse use = shared.memory().use(context, reserve);
      for (List<Integer> batch : batches) {
        List<Pass> together = batch.stream().map(passes::get).toList();
        use.hold();
        tasks.add(lanes.submit(
            lane -> LaneCalls.using(use, lane, () -> lane.runner(this::runner).run(together, use)), use::release));
      }
      use.release();
      @Nullable PassResult[] results = new PassResult[passes.size()];
      for (int i = 0; i < batches.size(); i++) {
        List<PassResult> done = tasks.get(i).await();
        for (int j = 0; j < done.size(); j++) {
          results[batches.get(i).get(j)] = done.get(j);
        }
      }
      return List.of(results);
    } catch (RuntimeException | Error e) {
      tasks.forEach(Lanes.Task::cancel);
      shared.check(e);
      throw e;
    }
  }

  private PassRunner runner(Lane lane) {
    return new PassRunner(lane.device, lane.kernels, weights, shared.settings.policy(), counters);
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
    List<CudaKvSegment> parts = segments.stream().map(this::own).toList();
    CudaKvSegment.Shape first = parts.getFirst().shape;
    int tokens = KeptSlots.tokens(parts);
    KeptSlots kept = KeptSlots.of(parts, first.kvHeads(), retained);
    KvCodec codec = parts.size() == 1 ? first.codec() : numbers().kept(shared.settings.policy().codec(tokens));
    return calls.on(parts, lane -> editor(lane).retain(parts, kept, codec, first.firstPosition(), tokens));
  }

  @Override
  public KvSegment slice(KvSegment segment, int from, int to) {
    CudaKvSegment source = own(segment);
    int[] range = KeptSlots.range(source, from, to);
    return calls.on(List.of(source), lane -> editor(lane).gather(
        List.of(source), range, source.shape.codec(), source.firstPosition() + from, to - from));
  }

  @Override
  public KvSegment recode(KvSegment segment, KvCodec codec) {
    if (codec == KvCodec.F32) {
      throw new UnsupportedOperationException("The CUDA backend keeps segments in 16 bits or int8, not " + codec);
    }
    CudaKvSegment own = own(segment);
    return calls.on(List.of(own), lane -> editor(lane).recode(own, numbers().kept(codec)));
  }

  private SegmentEditor editor(Lane lane) {
    return new SegmentEditor(lane.device, lane.kernels, shared.memory());
  }

  /** A copy in host memory; valid beyond the life of the segment. */
  @Override
  public MemorySegment image(KvSegment segment) {
    CudaKvSegment own = own(segment);
    return calls.on(List.of(own), lane -> {
      MemorySegment image = Arena.ofAuto().allocate(SegmentImage.HEADER + own.bytes(), 64);
      SegmentImage.write(image, own, numbers());
      if (own.bytes() > 0) {
        lane.device.download(image.asSlice(SegmentImage.HEADER), own.address());
        lane.device.synchronize("Copying a segment of %d tokens".formatted(own.tokens()));
      }
      return image.asReadOnly();
    });
  }

  /**
   * Copied to the device when it is first used, and again when it is used after it had to make room; kept on the device
   * or in pinned memory of the host, and so reachable, until then or until it is {@linkplain #forget forgotten}.
   */
  @Override
  public KvSegment restore(MemorySegment image) {
    CudaKvSegment.Shape shape = SegmentImage.shape(image, numbers());
    if (shape.kvHeads() != config.kvHeads() || shape.headSize() != config.headSize()
        || shape.layers() > config.layers()) {
      throw new IllegalArgumentException("KV image was not made by a backend of this model: " + shape);
    }
    MemorySegment numbers = image.asSlice(SegmentImage.HEADER, shape.bytes());
    return shared.memory().readable(shape, SegmentImage.contentId(image),
        numbers.isNative() ? numbers : Arena.ofAuto().allocate(shape.bytes(), 64).copyFrom(numbers));
  }

  @Override
  public boolean stored(KvSegment segment, MemorySegment image) {
    CudaKvSegment own = own(segment);
    if (SegmentImage.contentId(image) != own.contentId() || image.byteSize() < SegmentImage.HEADER + own.bytes()) {
      throw new IllegalArgumentException("%d bytes are not the image of %s".formatted(image.byteSize(), own));
    }
    return image.isNative() && shared.memory().stored(own, image.asSlice(SegmentImage.HEADER, own.bytes()));
  }

  @Override
  public void forget(KvSegment segment) {
    shared.memory().forget(own(segment));
  }

  /**
   * The base weights with the adapter added; what it changes is on the device a second time. Closed with this backend.
   */
  @Override
  public InferenceBackend with(LoraAdapter adapter) {
    return new CudaBackend(shared, shared.lanes("attune-llm-cuda-adapted"), original,
        lane -> original.with(lane.device, lane.kernels, adapter, shared.file));
  }

  /** Closed with this backend. */
  @Override
  public InferenceBackend beside() {
    return new CudaBackend(this);
  }

  @Override
  public long ownMemory() {
    return shared.memory().room().limit();
  }

  @Override
  public int callsAtOnce() {
    return lanes.count() + BRINGING;
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

  /**
   * Frees the device, also for backends made by {@link #with} and {@link #beside}; passes under way are ended first.
   */
  @Override
  public void close() {
    if (base) {
      shared.close();
    }
  }
}
