package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Compiled kernels on a device. */
final class KernelModule {

  private static final int MAX_DYNAMIC_SHARED_BYTES = 8;
  private static final int PREFERRED_SHARED_CARVEOUT = 9;
  private static final int ATTRIBUTE_COOPERATIVE = 2;
  private static final int ATTRIBUTE_PROGRAMMATIC_SERIALIZATION = 6;
  private static final int ATTRIBUTE_BYTES = 72;
  private static final int MAX_ARGUMENTS = 24;

  private final CudaDevice device;
  private final long module;
  private final Arena arena = Arena.ofShared();

  KernelModule(CudaDevice device, byte[] code, String what) {
    this.device = device;
    MemorySegment result = arena.allocate(8);
    // Code must be aligned and may be read later.
    MemorySegment image = arena.allocate(code.length, 64);
    MemorySegment.copy(code, 0, image, JAVA_BYTE, 0, code.length);
    device.check(device.driver.moduleLoadData(result, image), "Loading " + what);
    module = result.get(JAVA_LONG, 0);
  }

  Kernel kernel(String name) {
    return kernel(name, 0);
  }

  /** A kernel that may use {@code sharedBytes} of dynamic shared memory a block. */
  Kernel kernel(String name, int sharedBytes) {
    MemorySegment result = arena.allocate(8);
    device.check(device.driver.moduleGetFunction(result, module, arena.allocateFrom(name)), "Finding kernel " + name);
    long function = result.get(JAVA_LONG, 0);
    // The usual limit of 48 KB counts static shared memory too.
    if (sharedBytes > 32 << 10) {
      device.check(device.driver.funcSetAttribute(function, MAX_DYNAMIC_SHARED_BYTES, sharedBytes),
          "Giving %s %d bytes of shared memory".formatted(name, sharedBytes));
      // Otherwise the driver may leave room for fewer blocks than fit.
      device.check(device.driver.funcSetAttribute(function, PREFERRED_SHARED_CARVEOUT, 100), "Setting up " + name);
    }
    return new Kernel(name, function, sharedBytes);
  }

  /** One kernel. Launched by the device's thread only: its argument memory is its own. */
  final class Kernel {
    private final String name;
    private final long function;
    private final int sharedBytes;
    private final MemorySegment config = arena.allocate(64, 8);
    private final MemorySegment attributes = arena.allocate(2L * ATTRIBUTE_BYTES, 8);
    private final MemorySegment pointers = arena.allocate(ADDRESS, MAX_ARGUMENTS);
    private final MemorySegment values = arena.allocate(8L * MAX_ARGUMENTS, 8);

    private Kernel(String name, long function, int sharedBytes) {
      this.name = name;
      this.function = function;
      this.sharedBytes = sharedBytes;
      attributes.set(JAVA_INT, 8, 1);
      attributes.set(JAVA_INT, ATTRIBUTE_BYTES + 8, 1);
    }

    String name() {
      return name;
    }

    /** The same kernel with another amount of dynamic shared memory, not above what it was given. */
    Kernel sharing(int bytes) {
      return new Kernel(name, function, bytes);
    }

    /** Launches after everything before it in the stream has ended. */
    void launch(int gridX, int gridY, int threads, Object... arguments) {
      launch(gridX, gridY, threads, 0, 0, arguments);
    }

    /** Launches while the kernel before still runs; the kernel waits for it where it must. */
    void launchEarly(int gridX, int gridY, int threads, Object... arguments) {
      launch(gridX, gridY, threads, ATTRIBUTE_PROGRAMMATIC_SERIALIZATION, 0, arguments);
    }

    /** Launches blocks that wait for each other: all of them run at once, or the launch fails. */
    void launchTogether(int blocks, int threads, Object... arguments) {
      launch(blocks, 1, threads, ATTRIBUTE_COOPERATIVE, 0, arguments);
    }

    /** Launches blocks that wait for each other as soon as all have room; the kernel before may still be ending. */
    void launchTogetherEarly(int blocks, int threads, Object... arguments) {
      launch(blocks, 1, threads, ATTRIBUTE_COOPERATIVE, ATTRIBUTE_PROGRAMMATIC_SERIALIZATION, arguments);
    }

    /**
     * Puts a launch into the stream.
     *
     * @param how an attribute, or 0
     * @param and another, or 0
     * @param arguments Integer, Float, Long (addresses too), or a MemorySegment with the bytes of a structure
     */
    private void launch(int gridX, int gridY, int threads, int how, int and, Object... arguments) {
      for (int i = 0; i < arguments.length; i++) {
        MemorySegment slot = values.asSlice(8L * i, 8);
        switch (arguments[i]) {
          case Integer value -> slot.set(JAVA_INT, 0, value);
          case Float value -> slot.set(JAVA_FLOAT, 0, value);
          case Long value -> slot.set(JAVA_LONG, 0, value);
          case MemorySegment value -> slot = value;
          default -> throw new IllegalArgumentException(name + " cannot take " + arguments[i]);
        }
        pointers.setAtIndex(ADDRESS, i, slot);
      }
      config.set(JAVA_INT, 0, gridX);
      config.set(JAVA_INT, 4, gridY);
      config.set(JAVA_INT, 8, 1);
      config.set(JAVA_INT, 12, threads);
      config.set(JAVA_INT, 16, 1);
      config.set(JAVA_INT, 20, 1);
      config.set(JAVA_INT, 24, sharedBytes);
      config.set(JAVA_LONG, 32, device.stream);
      config.set(ADDRESS, 40, attributes);
      attributes.set(JAVA_INT, 0, how);
      attributes.set(JAVA_INT, ATTRIBUTE_BYTES, and);
      config.set(JAVA_INT, 48, how == 0 ? 0 : and == 0 ? 1 : 2);
      int code = device.driver.launchKernel(config, function, pointers, MemorySegment.NULL);
      if (code != 0) {
        device.check(code, "Launching %s on %d x %d blocks of %d threads".formatted(name, gridX, gridY, threads));
      }
    }
  }
}
