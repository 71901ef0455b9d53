package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Files that are copied by several threads arrive whole, and each is told of once, when nobody writes it any more. */
@Timeout(60)
class HostFillTest {

  private static final int[] SIZES = {0, 1, 300, 1 << 20, (1 << 20) + 1, 5_000_001, 777_777, 12};

  @TempDir private Path directory;

  private MemorySegment mapped(Arena arena, Random random) throws IOException {
    byte[] bytes = new byte[8_000_000];
    random.nextBytes(bytes);
    Path file = Files.write(directory.resolve("numbers"), bytes);
    try (FileChannel channel = FileChannel.open(file)) {
      return channel.map(FileChannel.MapMode.READ_ONLY, 0, bytes.length, arena);
    }
  }

  @Test
  void allOfItArrivesForSeveralCallers() throws Exception {
    try (Arena arena = Arena.ofShared(); HostFill fill = new HostFill(4);
        ExecutorService callers = Executors.newFixedThreadPool(3)) {
      MemorySegment file = mapped(arena, new Random(1));
      List<Future<?>> calls = new ArrayList<>();
      for (int caller = 0; caller < 3; caller++) {
        int seed = caller;
        calls.add(callers.submit(() -> fillAndCompare(fill, file, arena, new Random(seed))));
      }
      for (Future<?> call : calls) {
        call.get();
      }
    }
  }

  private static void fillAndCompare(HostFill fill, MemorySegment file, Arena arena, Random random) {
    for (int round = 0; round < 20; round++) {
      List<HostFill.Part> parts = new ArrayList<>();
      AtomicInteger told = new AtomicInteger();
      for (int size : SIZES) {
        MemorySegment from = file.asSlice(random.nextInt(8_000_000 - size), size);
        MemorySegment to = arena.allocate(size + 64L);
        to.fill((byte) 99);
        parts.add(new HostFill.Part(from, to.asSlice(32, size), failure -> {
          assertThat(failure).isNull();
          if (to.asSlice(32, size).mismatch(from) == -1 && to.get(JAVA_BYTE, 31) == 99
              && to.get(JAVA_BYTE, 32L + size) == 99) {
            told.incrementAndGet();
          }
        }));
      }
      fill.fill(parts);
      assertThat(told.get()).as("parts that were whole when they were told").isEqualTo(SIZES.length);
    }
  }

  @Test
  void whatCannotBeReadFailsAlone() throws IOException {
    try (Arena arena = Arena.ofShared(); HostFill fill = new HostFill(4)) {
      MemorySegment file = mapped(arena, new Random(2));
      MemorySegment unreadable;
      try (Arena gone = Arena.ofShared()) {
        unreadable = gone.allocate(3 << 20);
      }
      List<String> outcomes = new ArrayList<>();
      List<HostFill.Part> parts = new ArrayList<>();
      for (MemorySegment from : List.of(file.asSlice(0, 3 << 20), unreadable, file.asSlice(5, 10))) {
        parts.add(new HostFill.Part(from, arena.allocate(from.byteSize()), failure -> {
          synchronized (outcomes) {
            outcomes.add(failure == null ? "filled" : failure.getClass().getSimpleName());
          }
        }));
      }
      fill.fill(parts);
      assertThat(outcomes).containsExactlyInAnyOrder("filled", "IllegalStateException", "filled");
    }
  }

  @Test
  void anInterruptedCallerStillWaits() throws IOException {
    try (Arena arena = Arena.ofShared(); HostFill fill = new HostFill(4)) {
      MemorySegment file = mapped(arena, new Random(3));
      Thread.currentThread().interrupt();
      fillAndCompare(fill, file, arena, new Random(4));
      assertThat(Thread.interrupted()).isTrue();
    }
  }

  @Test
  void nothingIsFilledAtOnce() {
    try (HostFill fill = new HostFill(4)) {
      fill.fill(List.of());
    }
  }
}
