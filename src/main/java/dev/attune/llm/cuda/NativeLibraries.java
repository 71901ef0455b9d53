package dev.attune.llm.cuda;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * Finds shared libraries of CUDA. Looked for, in this order: the directory of the system property {@value #PROPERTY},
 * the directories of {@code LD_LIBRARY_PATH}, the Python packages below {@code site-packages/nvidia}, {@code
 * /usr/local/cuda}, and whatever the dynamic linker knows.
 */
final class NativeLibraries {

  static final String PROPERTY = "attune.cuda.libraries";

  /** A loaded library and where it came from. */
  record Library(String place, SymbolLookup symbols) {

    /**
     * A function that returns an int.
     *
     * @param signature one letter per argument: {@code i}nt, {@code l}ong (or any 64-bit handle), {@code p}ointer into
     *     memory of this process
     */
    MethodHandle function(String name, String signature) {
      MemoryLayout[] arguments = signature.chars().mapToObj(c -> switch (c) {
        case 'i' -> ValueLayout.JAVA_INT;
        case 'l' -> ValueLayout.JAVA_LONG;
        case 'p' -> ValueLayout.ADDRESS;
        default -> throw new IllegalArgumentException(signature);
      }).toArray(MemoryLayout[]::new);
      return Linker.nativeLinker().downcallHandle(
          symbols.find(name).orElseThrow(
              () -> new CudaException(place + " has no function " + name + "; it is too old")),
          FunctionDescriptor.of(ValueLayout.JAVA_INT, arguments));
    }
  }

  private NativeLibraries() {}

  /**
   * Loads the first library that is found.
   *
   * @param names file names, best first, for example {@code libnvrtc.so.13}
   * @throws CudaException naming the places that were searched
   */
  static Library load(String... names) {
    List<Path> directories = directories();
    for (Path directory : directories) {
      for (String name : names) {
        Path file = directory.resolve(name);
        if (Files.exists(file)) {
          try {
            return new Library(file.toString(), SymbolLookup.libraryLookup(file, Arena.global()));
          } catch (IllegalArgumentException e) {
            // Of another architecture, or lacking what it needs itself: another copy may do.
          }
        }
      }
    }
    for (String name : names) {
      try {
        return new Library(name + " (dynamic linker)", SymbolLookup.libraryLookup(name, Arena.global()));
      } catch (IllegalArgumentException e) {
        // The next name may be there.
      }
    }
    throw new CudaException("%s not found by the dynamic linker or in %s; set -D%s to its directory"
        .formatted(String.join(" or ", names), directories, PROPERTY));
  }

  /** Whether {@link #load} would find a library; loads it. */
  static boolean exists(String name) {
    try {
      load(name);
      return true;
    } catch (CudaException e) {
      return false;
    }
  }

  private static List<Path> directories() {
    List<Path> places = new ArrayList<>();
    String property = System.getProperty(PROPERTY);
    if (property != null) {
      places.add(Path.of(property));
    }
    String path = System.getenv("LD_LIBRARY_PATH");
    if (path != null) {
      for (String part : path.split(":")) {
        if (!part.isEmpty()) {
          places.add(Path.of(part));
        }
      }
    }
    for (Path root : pythonRoots()) {
      for (Path site : list(root.resolve("lib"), "python3*")) {
        for (String sub : List.of("site-packages", "dist-packages")) {
          Path nvidia = site.resolve(sub).resolve("nvidia");
          places.add(nvidia.resolve("cu13/lib"));
          for (Path part : list(nvidia, "*")) {
            places.add(part.resolve("lib"));
          }
        }
      }
    }
    places.add(Path.of("/usr/local/cuda/lib64"));
    places.add(Path.of("/usr/local/cuda/targets/x86_64-linux/lib"));
    places.add(Path.of("/usr/local/nvidia/lib64"));
    return places.stream().distinct().filter(Files::isDirectory).toList();
  }

  private static List<Path> pythonRoots() {
    List<Path> roots = new ArrayList<>();
    String environment = System.getenv("VIRTUAL_ENV");
    if (environment != null) {
      roots.add(Path.of(environment));
    }
    // The Python on the PATH: its environment lies beside its bin directory.
    String path = System.getenv("PATH");
    for (String part : path == null ? new String[0] : path.split(":")) {
      Path bin = Path.of(part);
      if (Files.exists(bin.resolve("python3")) && bin.getParent() != null) {
        roots.add(bin.getParent());
      }
    }
    return roots;
  }

  private static List<Path> list(Path directory, String pattern) {
    if (!Files.isDirectory(directory)) {
      return List.of();
    }
    try (Stream<Path> found = Files.list(directory)) {
      var matcher = directory.getFileSystem().getPathMatcher("glob:" + pattern);
      return found.filter(file -> matcher.matches(file.getFileName())).sorted().toList();
    } catch (IOException e) {
      return List.of();
    }
  }
}
