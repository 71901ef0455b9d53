package dev.attune.llm.cuda;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Fills a C structure field by field, each aligned to its size as a C compiler does. */
final class Struct {

  private final MemorySegment memory;
  private long at;

  Struct(Arena arena, long bytes) {
    memory = arena.allocate(bytes, 64);
  }

  /** A 64-bit number, device address or handle. */
  Struct put(long value) {
    at = (at + 7) & ~7L;
    memory.set(JAVA_LONG_UNALIGNED, at, value);
    at += 8;
    return this;
  }

  Struct put(int value) {
    at = (at + 3) & ~3L;
    memory.set(JAVA_INT_UNALIGNED, at, value);
    at += 4;
    return this;
  }

  Struct put(float value) {
    at = (at + 3) & ~3L;
    memory.set(JAVA_FLOAT_UNALIGNED, at, value);
    at += 4;
    return this;
  }

  /** The structure; it must have been filled to its end. */
  MemorySegment memory() {
    if ((at + 7 & ~7L) != memory.byteSize()) {
      throw new IllegalStateException("Structure of %d bytes was filled with %d".formatted(memory.byteSize(), at));
    }
    return memory;
  }
}
