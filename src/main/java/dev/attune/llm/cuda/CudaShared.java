package dev.attune.llm.cuda;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.checkpoint.Checkpoint;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What the backends of one model share: the GPU, memory of segments and its copies, and who is told of the GPU's loss.
 */
final class CudaShared implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(CudaShared.class);

  /** Share of the free memory that segments may take when no limit is set; activations and graphs need the rest. */
  private static final double SEGMENT_SHARE = 0.7;

  final CudaBackend.Settings settings;
  /** What of the weights is on the device. */
  final ModelWeights.Kept kept;
  /** The model's files, where adapters need weights that are not on the device; open as long as this. */
  final @Nullable Checkpoint file;
  private final ModelConfig config;
  private final Consumer<CudaException> lost;
  private final AtomicBoolean told = new AtomicBoolean();
  /** Those of the base weights first. */
  private final List<Lanes> lanes = new ArrayList<>();
  // Set before any other thread is started.
  private volatile @Nullable CudaDevice root;
  private volatile @Nullable Nvrtc compiler;
  private volatile @Nullable Copies copies;
  private volatile @Nullable SegmentMemory memory;
  private volatile @Nullable AheadCompiler ahead;
  private volatile String description = "";

  CudaShared(Checkpoint source, CudaBackend.Settings settings, Consumer<CudaException> lost) {
    config = source.config();
    this.settings = settings;
    this.lost = lost;
    kept = ModelWeights.Kept.of(config, settings.fp8());
    try {
      file = kept == ModelWeights.Kept.FP8 ? source.again() : null;
    } catch (IOException e) {
      throw new CudaException("The weights could not be read again for adapters: " + e);
    }
  }

  /** Lanes of a backend, which are closed with this. */
  Lanes lanes(String name) {
    Lanes added = new Lanes(name, settings.streams(), _ -> open());
    synchronized (this) {
      lanes.add(added);
    }
    return added;
  }

  /** Opens a lane for the calling thread. */
  private Lane open() {
    CudaDevice first = root;
    CudaDevice device;
    if (first == null) {
      device = new CudaDevice(new CudaDriver(), 0);
    } else {
      device = new CudaDevice(first);
    }
    try {
      Nvrtc opened = compiler == null ? new Nvrtc(cache()) : Objects.requireNonNull(compiler);
      Lane lane = new Lane(device, new Kernels(device, opened, config, settings.numbers()));
      compiler = opened;
      root = first == null ? device : first;
      return lane;
    } catch (RuntimeException | Error e) {
      device.close();
      throw e;
    }
  }

  private @Nullable KernelCache cache() {
    return settings.kernels() == null ? null : new KernelCache(settings.kernels());
  }

  /** Sets up memory for segments, once the weights are there. */
  void ready(CudaDevice device) {
    long limit = settings.deviceMemory() > 0 ? settings.deviceMemory() : (long) (device.freeBytes() * SEGMENT_SHARE);
    MemorySegment host = pinned(device, settings.hostMemory());
    Copies stream = new Copies(device);
    copies = stream;
    memory = new SegmentMemory(stream, limit, host);
    description = "%s in %s, driver %d from %s, NVRTC from %s, %d MB for keys and values, %d MB of the host for more"
        .formatted(device.name, settings.numbers(), device.driverVersion(), device.driver.place,
            Objects.requireNonNull(compiler).place, limit >> 20, host.byteSize() >> 20);
  }

  private static MemorySegment pinned(CudaDevice device, long bytes) {
    if (bytes > 0) {
      try {
        return device.allocatePinned(bytes);
      } catch (CudaException e) {
        log.warn("Keys and values that do not fit on the GPU are not kept: {}", e.getMessage());
      }
    }
    return MemorySegment.NULL;
  }

  /** Begins to compile the kernels of last blocks, where there is a place to keep them. */
  void compileAhead() {
    if (settings.kernels() != null) {
      Nvrtc opened = Objects.requireNonNull(compiler);
      String architecture = Objects.requireNonNull(root).architecture;
      ahead = new AheadCompiler(config, layers -> opened.compile(Kernels.LAYERS, architecture, settings.numbers(),
          Kernels.layersOptions(config, layers.tokenTiles(), layers.int8(), layers.most())));
    }
  }

  /** Whether last blocks may go together: always, but for a while after {@link #compileAhead}. */
  boolean together(int tokenTiles, boolean int8) {
    AheadCompiler compiling = ahead;
    return compiling == null || compiling.together(tokenTiles, int8);
  }

  SegmentMemory memory() {
    return Objects.requireNonNull(memory, "the backend is being loaded");
  }

  String description() {
    return description;
  }

  /** Tells of the loss of the device, the first time. */
  void check(Throwable e) {
    if (e instanceof CudaException failure && failure.deviceLost() && !told.getAndSet(true)) {
      lost.accept(failure);
    }
  }

  /** Ends passes under way, then copies, then what the memory belongs to. */
  @Override
  public void close() {
    AheadCompiler compiling = ahead;
    if (compiling != null) {
      compiling.close();
    }
    List<Lanes> all;
    synchronized (this) {
      all = List.copyOf(lanes).reversed();
    }
    all.subList(0, all.size() - 1).forEach(Lanes::close);
    SegmentMemory segments = memory;
    if (segments != null) {
      segments.close();
    }
    Copies open = copies;
    if (open != null) {
      open.close();
    }
    all.getLast().close();
    if (file != null) {
      file.close();
    }
  }
}
