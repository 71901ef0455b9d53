package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * One GPU with one stream. Belongs to the thread that opened it; only {@link #close} may be called from another, when
 * that one has ended. Several threads each open their own; memory may be used through all of them.
 */
final class CudaDevice implements AutoCloseable {

  private static final int ATTRIBUTE_MULTIPROCESSORS = 16;
  private static final int ATTRIBUTE_MAJOR = 75;
  private static final int ATTRIBUTE_MINOR = 76;
  private static final int POOL_RELEASE_THRESHOLD = 4;
  private static final int STREAM_NON_BLOCKING = 1;
  private static final int CAPTURE_RELAXED = 2;
  /** Errors after which a context is of no more use: of memory, of kernels, of the device; unknown ones. */
  private static final Set<Integer> ENDING = Set.of(
      4, 101, 201, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999);
  /** {@code wgmma} and the tensor memory accelerator. */
  private static final int NEEDED_MAJOR = 9;

  final CudaDriver driver;
  final long stream;
  final String name;
  final int multiprocessors;
  /** As NVRTC names it, for example {@code sm_90a}. */
  final String architecture;
  private final int ordinal;
  private final Arena arena = Arena.ofShared();
  /** Scratch for results of calls. */
  private final MemorySegment result = arena.allocate(64, 8);
  /** Bytes by address. */
  private final Map<Long, Long> allocations = new HashMap<>();
  private long allocated;
  private final List<Long> pinned = new ArrayList<>();

  /**
   * Opens a GPU for the calling thread.
   *
   * @throws CudaException when there is no driver or no GPU that can run the kernels; the message says which
   */
  CudaDevice(CudaDriver driver, int ordinal) {
    this.driver = driver;
    this.ordinal = ordinal;
    check(driver.init(0), "Starting the driver");
    check(driver.deviceGetCount(result), "Counting devices");
    int count = result.get(JAVA_INT, 0);
    if (ordinal >= count) {
      throw new CudaException("There is no GPU %d: the driver sees %d".formatted(ordinal, count));
    }
    check(driver.deviceGet(result, ordinal), "Opening GPU " + ordinal);
    MemorySegment text = arena.allocate(256);
    check(driver.deviceGetName(text, 256, ordinal), "Reading the name of the GPU");
    name = text.getString(0);
    multiprocessors = attribute(ATTRIBUTE_MULTIPROCESSORS);
    int major = attribute(ATTRIBUTE_MAJOR);
    if (major != NEEDED_MAJOR) {
      throw new CudaException("%s has compute capability %d.%d; the kernels need 9.0 (H100, H200)"
          .formatted(name, major, attribute(ATTRIBUTE_MINOR)));
    }
    architecture = "sm_90a";
    stream = openStream();
    keepFreedMemory();
  }

  /** The same GPU with another stream, for the calling thread; to be closed before {@code base}. */
  CudaDevice(CudaDevice base) {
    driver = base.driver;
    ordinal = base.ordinal;
    name = base.name;
    multiprocessors = base.multiprocessors;
    architecture = base.architecture;
    stream = openStream();
  }

  private long openStream() {
    check(driver.primaryCtxRetain(result, ordinal), "Opening a context on " + name);
    check(driver.ctxSetCurrent(result.get(JAVA_LONG, 0)), "Making the context current");
    check(driver.streams.create(result, STREAM_NON_BLOCKING), "Creating a stream");
    return result.get(JAVA_LONG, 0);
  }

  /** Freed memory stays with the process: giving it back to the driver would synchronise. */
  private void keepFreedMemory() {
    check(driver.memory.defaultPool(result, ordinal), "Opening the memory pool");
    long pool = result.get(JAVA_LONG, 0);
    result.set(JAVA_LONG, 0, Long.MAX_VALUE);
    check(driver.memory.setPoolAttribute(pool, POOL_RELEASE_THRESHOLD, result), "Setting up the memory pool");
  }

  private int attribute(int attribute) {
    check(driver.deviceGetAttribute(result, attribute, ordinal), "Reading attribute " + attribute);
    return result.get(JAVA_INT, 0);
  }

  /** Version of the driver's API, for example 13000. */
  int driverVersion() {
    check(driver.driverGetVersion(result), "Reading the driver's version");
    return result.get(JAVA_INT, 0);
  }

  void check(int code, String operation) {
    if (code != 0) {
      throw new CudaException("%s failed: %s".formatted(operation, nameOf(code)), ENDING.contains(code));
    }
  }

  private static String nameOf(int code) {
    return "CUDA error " + code + switch (code) {
      case 2 -> " (out of memory)";
      case 3 -> " (driver not initialised)";
      case 100 -> " (no device)";
      case 209 -> " (no kernel image for this device)";
      case 700 -> " (illegal address)";
      case 701 -> " (launch out of resources)";
      case 716 -> " (misaligned address)";
      case 719 -> " (launch failure)";
      case 803 -> " (driver and library versions differ)";
      default -> "";
    };
  }

  /** Bytes that are free on the device, those kept in the pool not counted. */
  long freeBytes() {
    check(driver.memory.info(result, result.asSlice(8)), "Reading free memory");
    return result.get(JAVA_LONG, 0);
  }

  /** Device memory that lives as long as the device is open. */
  long allocate(long bytes, String what) {
    check(driver.memory.allocate(result, bytes),
        "Allocating %d bytes for %s, beside %d MB,".formatted(bytes, what, allocated >> 20));
    long address = result.get(JAVA_LONG, 0);
    allocations.put(address, bytes);
    allocated += bytes;
    return address;
  }

  /** Gives back what {@link #allocate} gave; waits for the device. */
  void free(long address) {
    Long bytes = allocations.remove(address);
    if (bytes != null) {
      allocated -= bytes;
      check(driver.memory.free(address), "Freeing memory");
    }
  }

  /** Bytes that {@link #allocate} gave and that were not given back. */
  long allocated() {
    return allocated;
  }

  /** Device memory from the pool, in the order of the stream. */
  long allocatePooled(long bytes, String what) {
    check(driver.memory.allocateAsync(result, bytes, stream), "Allocating %d bytes for %s".formatted(bytes, what));
    return result.get(JAVA_LONG, 0);
  }

  void freePooled(long address) {
    check(driver.memory.freeAsync(address, stream), "Freeing memory");
  }

  /** Page-locked memory of the host, which the device copies from and to without a detour. */
  MemorySegment allocatePinned(long bytes) {
    check(driver.memory.allocateHost(result, bytes), "Allocating %d pinned bytes".formatted(bytes));
    MemorySegment memory = result.get(ADDRESS, 0).reinterpret(bytes);
    pinned.add(memory.address());
    return memory;
  }

  void freePinned(MemorySegment memory) {
    if (pinned.remove(memory.address())) {
      check(driver.memory.freeHost(memory.address()), "Freeing pinned memory");
    }
  }

  void upload(long to, MemorySegment from) {
    check(driver.memory.copyToDevice(to, from, from.byteSize(), stream), "Copying %d bytes to the device"
        .formatted(from.byteSize()));
  }

  void download(MemorySegment to, long from) {
    check(driver.memory.copyToHost(to, from, to.byteSize(), stream), "Copying %d bytes from the device"
        .formatted(to.byteSize()));
  }

  void copy(long to, long from, long bytes) {
    check(driver.memory.copyOnDevice(to, from, bytes, stream), "Copying %d bytes on the device".formatted(bytes));
  }

  void fill(long address, int value, long bytes) {
    check(driver.memory.fill(address, value, bytes, stream), "Filling %d bytes".formatted(bytes));
  }

  /** Waits for everything in the stream; errors of kernels show here. */
  void synchronize(String operation) {
    check(driver.streams.synchronize(stream), operation);
  }

  /** Waits like {@link #synchronize}, after a failure that is already known. */
  void settle() {
    driver.streams.synchronize(stream);
  }

  /** Runs {@code work} once without executing it and returns it as a graph. */
  CudaGraph capture(Runnable work) {
    check(driver.streams.beginCapture(stream, CAPTURE_RELAXED), "Beginning a capture");
    boolean done = false;
    try {
      work.run();
      done = true;
    } finally {
      int code = driver.streams.endCapture(stream, result);
      if (done) {
        check(code, "Ending a capture");
      }
    }
    long graph = result.get(JAVA_LONG, 0);
    check(driver.streams.graphInstantiate(result, graph, 0), "Instantiating a graph");
    long executable = result.get(JAVA_LONG, 0);
    check(driver.streams.graphDestroy(graph), "Releasing a graph");
    return new CudaGraph(this, executable);
  }

  /** A mark in the stream that time is measured between. */
  long event() {
    check(driver.streams.eventCreate(result, 0), "Creating an event");
    return result.get(JAVA_LONG, 0);
  }

  void record(long event) {
    check(driver.streams.eventRecord(event, stream), "Recording an event");
  }

  /** Lets what follows in the stream wait for an event, as it was last recorded in whichever stream. */
  void waitFor(long event) {
    check(driver.streams.waitEvent(stream, event, 0), "Waiting for copies");
  }

  /** Milliseconds between two recorded events, after waiting for the second. */
  float elapsed(long start, long end) {
    check(driver.streams.eventSynchronize(end), "Waiting for an event");
    check(driver.streams.eventElapsedTime(result, start, end), "Measuring time");
    return result.get(JAVA_FLOAT, 0);
  }

  long uploadNew(float[] values, String what) {
    long address = allocate(Math.max(values.length, 1) * 4L, what);
    try (Arena scratch = Arena.ofConfined()) {
      upload(address, scratch.allocateFrom(ValueLayout.JAVA_FLOAT, values));
      synchronize("Copying " + what);
    }
    return address;
  }

  @Override
  public void close() {
    driver.streams.synchronize(stream);
    allocations.keySet().forEach(driver.memory::free);
    pinned.forEach(driver.memory::freeHost);
    driver.streams.destroy(stream);
    driver.primaryCtxRelease(ordinal);
    arena.close();
  }
}
