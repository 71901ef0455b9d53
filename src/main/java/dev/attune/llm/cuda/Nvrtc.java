package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Compiles kernel sources to machine code, on a thread with a stack of {@link #STACK_BYTES}. Needs no GPU. */
final class Nvrtc {

  private static final Pattern INCLUDE = Pattern.compile("(?m)^#include \"([^\"]+)\"$");

  private static final List<String> OPTIONS = List.of("--std=c++17", "--ptxas-options=-v", "-lineinfo");

  /** As much as a process's first thread has, which compilers are made for; Java threads have an eighth of it. */
  static final long STACK_BYTES = 8 << 20;

  final String place;
  private final MethodHandle create;
  private final MethodHandle compile;
  private final MethodHandle logSize;
  private final MethodHandle log;
  private final MethodHandle codeSize;
  private final MethodHandle code;
  private final MethodHandle destroy;
  /** Each lane and each backend loads the same code; different code can be compiled side by side. */
  private static final Map<List<String>, FutureTask<Compiled>> COMPILED = new ConcurrentHashMap<>();

  private final String version;
  private final @Nullable KernelCache cache;

  /**
   * Machine code, and what the assembler says of its registers, empty when the code was compiled by an earlier start.
   */
  record Compiled(byte[] code, String log) {}

  /**
   * Loads the compiler.
   *
   * @param cache where machine code is kept, or null to compile always
   * @throws CudaException when it is not there
   */
  Nvrtc(@Nullable KernelCache cache) {
    this.cache = cache;
    // The compiler opens its built-in headers by name only, which finds them where they are loaded already.
    for (String builtins : List.of("libnvrtc-builtins.so.13.0", "libnvrtc-builtins.so.13.1",
        "libnvrtc-builtins.so.13.2", "libnvrtc-builtins.so.13.3", "libnvrtc-builtins.so.13.4",
        "libnvrtc-builtins.so.13.5")) {
      try {
        NativeLibraries.load(builtins);
      } catch (CudaException e) {
        // Of another version; the compiler itself will say when none fits.
      }
    }
    NativeLibraries.Library library = NativeLibraries.load("libnvrtc.so.13", "libnvrtc.so.12");
    place = library.place();
    create = library.function("nvrtcCreateProgram", "pppipp");
    compile = library.function("nvrtcCompileProgram", "lip");
    logSize = library.function("nvrtcGetProgramLogSize", "lp");
    log = library.function("nvrtcGetProgramLog", "lp");
    codeSize = library.function("nvrtcGetCUBINSize", "lp");
    code = library.function("nvrtcGetCUBIN", "lp");
    destroy = library.function("nvrtcDestroyProgram", "p");
    version = version(library.function("nvrtcVersion", "pp"));
  }

  private static String version(MethodHandle get) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment major = arena.allocate(ValueLayout.JAVA_INT);
      MemorySegment minor = arena.allocate(ValueLayout.JAVA_INT);
      check((int) get.invokeExact(major, minor), "Asking for the compiler's version");
      return major.get(ValueLayout.JAVA_INT, 0) + "." + minor.get(ValueLayout.JAVA_INT, 0);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * Compiles a resource of this package, after {@code common.cuh}, once; other resources are included by name.
   *
   * @param others options, for example {@code -DSTAGES=3}
   * @throws CudaException with the compiler's messages
   */
  Compiled compile(String resource, String architecture, Numbers numbers, List<String> others) {
    List<String> options = new ArrayList<>(others);
    options.add(numbers.option());
    List<String> key = new ArrayList<>(options);
    key.add(architecture);
    key.add(resource);
    key.add(place);
    FutureTask<Compiled> task = COMPILED.computeIfAbsent(
        key, unknown -> new FutureTask<>(() -> foundOrCompiled(resource, architecture, options)));
    // Does nothing when another thread has begun with it.
    task.run();
    try {
      return get(task);
    } catch (ExecutionException e) {
      COMPILED.remove(key, task);
      throw e.getCause() instanceof RuntimeException cause ? cause : new IllegalStateException(e.getCause());
    }
  }

  /** An interrupt is of the caller's pass, which looks for it itself; others wait for this code too. */
  private static Compiled get(FutureTask<Compiled> task) throws ExecutionException {
    boolean interrupted = false;
    try {
      while (true) {
        try {
          return task.get();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  private Compiled foundOrCompiled(String resource, String architecture, List<String> options) {
    String source = numbered("common.cuh") + INCLUDE.matcher(numbered(resource))
        .replaceAll(match -> Matcher.quoteReplacement(numbered(match.group(1))));
    KernelCache kept = cache;
    if (kept == null) {
      return compileAnew(source, resource, architecture, options);
    }
    List<String> madeOf = new ArrayList<>(options);
    madeOf.addAll(List.of(source, architecture, version, String.join(" ", OPTIONS)));
    return kept.find(madeOf).map(machineCode -> new Compiled(machineCode, "")).orElseGet(() -> {
      Compiled compiled = compileAnew(source, resource, architecture, options);
      kept.keep(madeOf, compiled.code);
      return compiled;
    });
  }

  private Compiled compileAnew(String source, String resource, String architecture, List<String> options) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment handle = arena.allocate(ADDRESS);
      check((int) create.invokeExact(handle, arena.allocateFrom(source), arena.allocateFrom(resource), 0,
          MemorySegment.NULL, MemorySegment.NULL), "Creating a program for " + resource);
      long program = handle.get(JAVA_LONG, 0);
      List<String> all = new ArrayList<>(OPTIONS);
      all.add("--gpu-architecture=" + architecture);
      all.addAll(options);
      MemorySegment texts = arena.allocate(ADDRESS, all.size());
      for (int i = 0; i < all.size(); i++) {
        texts.setAtIndex(ADDRESS, i, arena.allocateFrom(all.get(i)));
      }
      int result = (int) compile.invokeExact(program, all.size(), texts);
      String messages = new String(fetch(arena, program, logSize, log), StandardCharsets.UTF_8).replace("\0", "");
      if (result != 0) {
        throw new CudaException("Compiling %s %s failed (%d): %s".formatted(resource, options, result, messages));
      }
      byte[] machineCode = fetch(arena, program, codeSize, code);
      check((int) destroy.invokeExact(handle), "Releasing a program");
      return new Compiled(machineCode, messages);
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  private static byte[] fetch(Arena arena, long program, MethodHandle size, MethodHandle content) throws Throwable {
    MemorySegment length = arena.allocate(JAVA_LONG);
    check((int) size.invokeExact(program, length), "Reading a result");
    MemorySegment bytes = arena.allocate(length.get(JAVA_LONG, 0));
    check((int) content.invokeExact(program, bytes), "Reading a result");
    return bytes.toArray(ValueLayout.JAVA_BYTE);
  }

  private static void check(int code, String operation) {
    if (code != 0) {
      throw new CudaException("%s failed: NVRTC error %d".formatted(operation, code));
    }
  }

  private static String numbered(String resource) {
    return "\n#line 1 \"" + resource + "\"\n" + read(resource);
  }

  private static String read(String resource) {
    try (InputStream in = Objects.requireNonNull(Nvrtc.class.getResourceAsStream(resource), resource)) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
