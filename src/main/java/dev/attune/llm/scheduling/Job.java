package dev.attune.llm.scheduling;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** One call of a backend: passes that wait, and the results so far. Guarded by the lock of the {@link WaitingLine}. */
final class Job {

  final InferenceBackend backend;
  final Caller caller;
  final List<Pass> passes;
  final CompletableFuture<List<PassResult>> outcome = new CompletableFuture<>();
  /** Time of {@link System#nanoTime}. */
  final long queued = System.nanoTime();
  /** Indices of passes that have not begun, least layers first, as the backend would have them. */
  final ArrayDeque<Integer> waiting = new ArrayDeque<>();

  private final @Nullable PassResult[] results;
  private int open;

  Job(InferenceBackend backend, Caller caller, List<Pass> passes) {
    this.backend = backend;
    this.caller = caller;
    this.passes = List.copyOf(passes);
    this.results = new @Nullable PassResult[passes.size()];
    this.open = passes.size();
    Integer[] order = new Integer[passes.size()];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, (a, b) -> Integer.compare(passes.get(a).layers(), passes.get(b).layers()));
    waiting.addAll(Arrays.asList(order));
  }

  boolean begun() {
    return waiting.size() < passes.size();
  }

  /** The pass to run next, if any waits. */
  @Nullable Pass next() {
    Integer index = waiting.peek();
    return index == null ? null : passes.get(index);
  }

  void finished(int pass, PassResult result) {
    results[pass] = result;
    if (--open == 0) {
      outcome.complete(List.of(results));
    }
  }

  void fail(Throwable reason) {
    waiting.clear();
    outcome.completeExceptionally(reason);
  }
}
