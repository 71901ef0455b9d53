package dev.attune.llm.cpu;

/** A 64-bit hash of a sequence of numbers (each step is splitmix64's mixer). */
final class ContentHash {

  private long state;

  ContentHash(long start) {
    state = mix(start);
  }

  ContentHash add(long number) {
    state = mix(state * 31 + number + 0x9e3779b97f4a7c15L);
    return this;
  }

  long value() {
    return state;
  }

  private static long mix(long z) {
    z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
    z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
    return z ^ z >>> 31;
  }
}
