package dev.attune.llm.scheduling;

import dev.attune.llm.Admission;
import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.scheduling.WaitingLine.Picked;
import io.micrometer.core.instrument.DistributionSummary;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import java.lang.ScopedValue.CallableOp;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * Serves calls of several backends over the same cores, one batch at a time: continuous batching at the granularity of
 * passes, as a step of every sequence is a pass of its own (Orca, OSDI 2022, calls it iteration-level scheduling). A
 * backend that does not compete for the cores has a line of its own, of which several batches may run at a time.
 *
 * <p>A call ends when the last of its passes is done. An interrupt takes its waiting passes out; what runs is stopped
 * only when nobody else shares the batch. Results do not depend on the batch, since those of the backends do not.
 */
public final class Scheduler implements Admission, AutoCloseable {

  private static final ScopedValue<Caller> CALLER = ScopedValue.newInstance();

  /** How long a thread waits for work before it ends. */
  private static final Duration IDLE = Duration.ofSeconds(30);

  private final int limit;
  private final Timer wait;
  private final Timer backgroundWait;
  private final DistributionSummary batchPasses;
  private final DistributionSummary batchTokens;
  /** Of the backends that share the cores. */
  private final Line cores = new Line(1);

  // Guarded by this.
  /** Lines with jobs that wait or run. */
  private final Set<Line> busy = new HashSet<>();
  private int admitted;
  private long requestNanos = Duration.ofSeconds(1).toNanos();
  private boolean closed;

  /** Jobs of backends that are served together. Guarded by the scheduler's lock. */
  final class Line {
    private final WaitingLine waiting = new WaitingLine();
    /** Batches that may run at the same time. */
    private final int atOnce;
    private final List<Run> running = new ArrayList<>();
    private final ThreadPoolExecutor threads;

    private Line(int atOnce) {
      this.atOnce = atOnce;
      threads = new ThreadPoolExecutor(
          atOnce, atOnce, IDLE.toNanos(), TimeUnit.NANOSECONDS, new LinkedBlockingQueue<>(),
          Thread.ofPlatform().daemon().name("attune-llm-scheduler").factory());
      threads.allowCoreThreadTimeOut(true);
    }
  }

  /** A thread that serves a line, and the batch it is at. */
  private static final class Run {
    private final Line line;
    private @Nullable Thread thread;
    private List<Picked> batch = List.of();

    Run(Line line) {
      this.line = line;
    }
  }

  /**
   * Starts a scheduler.
   *
   * @param limit requests that may be under way at the same time
   */
  public Scheduler(int limit, MeterRegistry metrics) {
    this.limit = limit;
    this.wait = waitTimer(metrics, "request");
    this.backgroundWait = waitTimer(metrics, "background");
    this.batchPasses = DistributionSummary.builder("attune.llm.batch.passes")
        .description("Passes that ran as one batch")
        .register(metrics);
    this.batchTokens = DistributionSummary.builder("attune.llm.batch.tokens")
        .description("Tokens that ran as one batch")
        .register(metrics);
    Gauge.builder("attune.llm.queue", this, Scheduler::waiting)
        .description("Passes that wait for the model")
        .register(metrics);
    Gauge.builder("attune.llm.requests", this, Scheduler::admitted)
        .description("Requests at the model")
        .register(metrics);
  }

  private static Timer waitTimer(MeterRegistry metrics, String priority) {
    return Timer.builder("attune.llm.wait")
        .description("Time from the call of a backend to its first batch")
        .tag("priority", priority)
        .register(metrics);
  }

  /** The backend as seen through this scheduler, sharing the cores with the others. */
  public InferenceBackend schedule(InferenceBackend backend) {
    return new ScheduledBackend(backend, this, cores);
  }

  /**
   * A backend that does not share the cores, in a line of its own.
   *
   * @param atOnce batches of it that may run at the same time
   */
  public InferenceBackend schedule(InferenceBackend backend, int atOnce) {
    return new ScheduledBackend(backend, this, new Line(atOnce));
  }

  @Override
  public <T extends @Nullable Object, E extends Throwable> T admit(
      String caller, Duration patience, CallableOp<? extends T, E> operation) throws E {
    if (CALLER.isBound()) {
      return operation.call();
    }
    long start = System.nanoTime();
    synchronized (this) {
      if (admitted >= limit) {
        // About when half of those before it are done.
        throw new BusyException(Duration.ofSeconds(1 + limit * requestNanos / 2 / 1_000_000_000L));
      }
      admitted++;
    }
    try {
      Caller who = new Caller(caller, false, start + patience.toNanos());
      return ScopedValue.where(CALLER, who).<T, E>call(operation);
    } finally {
      synchronized (this) {
        long perRequest = (System.nanoTime() - start) / admitted;
        requestNanos += (perRequest - requestNanos) / 8;
        admitted--;
      }
    }
  }

  @Override
  public <T extends @Nullable Object, E extends Throwable> T inBackground(CallableOp<? extends T, E> operation)
      throws E {
    return ScopedValue.where(CALLER, Caller.inBackground()).<T, E>call(operation);
  }

  /** Passes that wait. */
  synchronized int waiting() {
    return busy.stream().mapToInt(line -> line.waiting.length()).sum();
  }

  /** Requests under way. */
  synchronized int admitted() {
    return admitted;
  }

  List<PassResult> run(Line line, InferenceBackend backend, List<Pass> passes) {
    if (passes.isEmpty()) {
      return List.of();
    }
    Job job = new Job(backend, CALLER.isBound() ? CALLER.get() : Caller.unnamed(), passes);
    synchronized (this) {
      if (closed) {
        throw new CancellationException("The model is being closed");
      }
      line.waiting.add(job);
      busy.add(line);
      if (line.running.size() < line.atOnce) {
        Run run = new Run(line);
        line.running.add(run);
        line.threads.execute(() -> serve(run));
      }
    }
    try {
      return outcome(line, job);
    } catch (InterruptedException e) {
      cancel(line, job);
      Thread.currentThread().interrupt();
      throw new CancellationException("Interrupted while waiting for a forward pass");
    } catch (ExecutionException e) {
      throw rethrown(e.getCause());
    }
  }

  private List<PassResult> outcome(Line line, Job job) throws InterruptedException, ExecutionException {
    try {
      return job.outcome.get(job.caller.deadline() - System.nanoTime(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      synchronized (this) {
        if (!job.waiting.isEmpty()) {
          line.waiting.remove(job);
          job.fail(new DeadlineExceededException());
        }
      }
      // All has begun: the rest is soon there.
      return job.outcome.get();
    }
  }

  private static RuntimeException rethrown(@Nullable Throwable cause) {
    return switch (cause) {
      case RuntimeException exception -> exception;
      case Error error -> throw error;
      case null, default -> new IllegalStateException(cause);
    };
  }

  private synchronized void cancel(Line line, Job job) {
    line.waiting.remove(job);
    job.fail(new CancellationException("Cancelled by its caller"));
    for (Run run : line.running) {
      Thread thread = run.thread;
      if (thread != null && !run.batch.isEmpty()
          && run.batch.stream().allMatch(picked -> picked.job().outcome.isDone())) {
        thread.interrupt();
      }
    }
  }

  /** Runs batches of a line until nobody waits. */
  private void serve(Run run) {
    while (true) {
      List<Picked> batch;
      synchronized (this) {
        run.thread = Thread.currentThread();
        run.batch = List.of();
        Thread.interrupted();
        batch = next(run.line);
        if (batch.isEmpty()) {
          run.line.running.remove(run);
          if (run.line.running.isEmpty()) {
            busy.remove(run.line);
          }
          return;
        }
      }
      runBatch(run, batch);
    }
  }

  private List<Picked> next(Line line) {
    long now = System.nanoTime();
    List<Picked> batch = line.waiting.next();
    for (Job job : jobs(batch)) {
      if (job.passes.size() - job.waiting.size() == batch.stream().filter(p -> p.job() == job).count()) {
        (job.caller.background() ? backgroundWait : wait).record(Duration.ofNanos(now - job.queued));
      }
    }
    return batch;
  }

  private void runBatch(Run run, List<Picked> picked) {
    List<Picked> batch;
    synchronized (this) {
      batch = picked.stream().filter(pass -> !pass.job().outcome.isDone()).toList();
      run.batch = batch;
      // Meant for a batch that is over.
      Thread.interrupted();
      if (batch.isEmpty()) {
        return;
      }
    }
    batchPasses.record(batch.size());
    batchTokens.record(batch.stream().mapToInt(pass -> pass.pass().tokens().length).sum());
    try {
      List<PassResult> results =
          batch.getFirst().job().backend.run(batch.stream().map(Picked::pass).toList());
      synchronized (this) {
        for (int i = 0; i < batch.size(); i++) {
          batch.get(i).job().finished(batch.get(i).index(), results.get(i));
        }
      }
    } catch (RuntimeException | Error e) {
      Set<Job> jobs = jobs(batch);
      if (jobs.size() > 1 && e instanceof RuntimeException) {
        // One caller's mistake is not the others'.
        jobs.forEach(job -> runBatch(run, batch.stream().filter(pass -> pass.job() == job).toList()));
      } else {
        synchronized (this) {
          for (Job job : jobs) {
            run.line.waiting.remove(job);
            job.fail(e);
          }
        }
      }
    }
  }

  private static Set<Job> jobs(List<Picked> batch) {
    return batch.stream().map(Picked::job).collect(Collectors.toSet());
  }

  /** Ends the waiting and the running calls with a {@link CancellationException}. */
  @Override
  public void close() {
    synchronized (this) {
      closed = true;
      for (Line line : busy) {
        for (Run run : line.running) {
          Thread thread = run.thread;
          if (thread != null) {
            thread.interrupt();
          }
        }
        while (!line.waiting.isEmpty()) {
          for (Job job : jobs(line.waiting.next())) {
            line.waiting.remove(job);
            job.fail(new CancellationException("The model is being closed"));
          }
        }
      }
    }
  }
}
