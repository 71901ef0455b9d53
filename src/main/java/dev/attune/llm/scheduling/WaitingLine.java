package dev.attune.llm.scheduling;

import dev.attune.llm.Admission.DeadlineExceededException;
import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Pass;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The jobs that wait, by caller. The caller whose turn it is leads the next batch with its oldest job; the others, in
 * turn, add passes that fit beside it: of the same backend and depth, one each, round after round, until the batch is
 * full. Background jobs have a line of their own, which moves when the other is empty, one pass at a time.
 *
 * <p>Not thread-safe: guarded by the lock of {@link Scheduler}.
 */
final class WaitingLine {

  /**
   * Tokens of a batch. Matrix products are not faster with more, and a batch delays whoever comes next; while others
   * wait for something else it is half as much.
   */
  static final int BATCH_TOKENS = 1024;

  private static final int CROWDED_BATCH_TOKENS = 512;

  /** A pass on its way into a batch. */
  record Picked(Job job, int index) {
    Pass pass() {
      return job.passes.get(index);
    }
  }

  /** Callers in the order of their turns, each with its jobs in the order of arrival. */
  private final Map<String, Deque<Job>> callers = new LinkedHashMap<>();

  private final Deque<Job> background = new ArrayDeque<>();

  void add(Job job) {
    if (job.caller.background()) {
      background.add(job);
    } else {
      callers.computeIfAbsent(job.caller.name(), _ -> new ArrayDeque<>()).add(job);
    }
  }

  /** Takes a job out; a pass of it that has begun goes on. */
  void remove(Job job) {
    job.waiting.clear();
    if (job.caller.background()) {
      background.remove(job);
    } else {
      callers.computeIfPresent(
          job.caller.name(),
          (_, jobs) -> {
            jobs.remove(job);
            return jobs.isEmpty() ? null : jobs;
          });
    }
  }

  boolean isEmpty() {
    return callers.isEmpty() && background.isEmpty();
  }

  /** Passes that wait. */
  int length() {
    int length = background.stream().mapToInt(job -> job.waiting.size()).sum();
    for (Deque<Job> jobs : callers.values()) {
      length += jobs.stream().mapToInt(job -> job.waiting.size()).sum();
    }
    return length;
  }

  /** Takes the next batch; empty when nobody waits. */
  List<Picked> next() {
    dropLate();
    List<Picked> batch = new ArrayList<>();
    if (callers.isEmpty()) {
      Job job = background.peek();
      if (job != null) {
        batch.add(pick(job));
        if (job.waiting.isEmpty()) {
          background.remove();
        }
      }
      return batch;
    }
    String leader = callers.keySet().iterator().next();
    Job first = callers.get(leader).element();
    InferenceBackend backend = first.backend;
    int layers = first.passes.get(first.waiting.element()).layers();
    int limit = othersWait(backend, layers) ? CROWDED_BATCH_TOKENS : BATCH_TOKENS;
    int tokens = 0;
    boolean added;
    do {
      added = false;
      for (Deque<Job> jobs : callers.values()) {
        Job job = fitting(jobs, backend, layers, batch.isEmpty() ? Integer.MAX_VALUE : limit - tokens);
        if (job != null) {
          Picked picked = pick(job);
          tokens += picked.pass().tokens().length;
          batch.add(picked);
          added = true;
        }
      }
    } while (added);
    // The next turn is another's; who has nothing left leaves the line.
    Deque<Job> rest = callers.remove(leader);
    callers.put(leader, rest);
    callers.values().removeIf(
        jobs -> {
          jobs.removeIf(job -> job.waiting.isEmpty());
          return jobs.isEmpty();
        });
    return batch;
  }

  private static Picked pick(Job job) {
    return new Picked(job, job.waiting.remove());
  }

  private static @Nullable Job fitting(Deque<Job> jobs, InferenceBackend backend, int layers, int room) {
    for (Job job : jobs) {
      Pass pass = job.backend == backend ? job.next() : null;
      if (pass != null && pass.layers() == layers && pass.tokens().length <= room) {
        return job;
      }
    }
    return null;
  }

  private boolean othersWait(InferenceBackend backend, int layers) {
    return callers.values().stream()
        .flatMap(Deque::stream)
        .anyMatch(job -> job.backend != backend || job.passes.get(job.waiting.element()).layers() != layers);
  }

  private void dropLate() {
    long now = System.nanoTime();
    for (Iterator<Deque<Job>> all = callers.values().iterator(); all.hasNext(); ) {
      Deque<Job> jobs = all.next();
      jobs.removeIf(
          job -> {
            boolean late = job.caller.late(now);
            if (late) {
              job.fail(new DeadlineExceededException());
            }
            return late;
          });
      if (jobs.isEmpty()) {
        all.remove();
      }
    }
  }
}
