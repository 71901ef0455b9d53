package dev.attune.llm.scheduling;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.Admission.BusyException;
import dev.attune.llm.Admission.DeadlineExceededException;
import dev.attune.llm.InferenceBackend;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.PassResult;
import dev.attune.llm.KvSegment;
import dev.attune.llm.TinyModel;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Proxy;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Real passes of a tiny model from many threads. */
@Timeout(60)
class SchedulerTest {

  private static final int LAYERS = 3;
  private static final Duration PATIENCE = Duration.ofMinutes(1);

  private final SimpleMeterRegistry metrics = new SimpleMeterRegistry();
  private final Scheduler scheduler = new Scheduler(100, metrics);
  private final InferenceBackend direct = TinyModel.shared().backend();
  private final InferenceBackend backend = scheduler.schedule(direct);
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();

  @AfterEach
  void close() {
    threads.shutdownNow();
    scheduler.close();
  }

  private static Pass pass(int seed, int tokens, int layers) {
    int[] ids = new SplittableRandom(seed).ints(tokens, 0, 40).toArray();
    return new Pass(ids, seed % 5, List.of(), layers, true, layers == LAYERS ? Logits.LAST : Logits.NONE, null);
  }

  /** Keeps the scheduler busy until the future is cancelled, so that everybody else has to wait. */
  private Future<List<PassResult>> occupy() throws InterruptedException {
    CountDownLatch running = new CountDownLatch(1);
    InferenceBackend held =
        (InferenceBackend)
            Proxy.newProxyInstance(
                InferenceBackend.class.getClassLoader(),
                new Class<?>[] {InferenceBackend.class},
                (_, method, arguments) -> {
                  assertThat(method.getName()).isEqualTo("run");
                  running.countDown();
                  try {
                    Thread.sleep(PATIENCE);
                  } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    throw new CancellationException();
                  }
                  return List.of();
                });
    Future<List<PassResult>> future = threads.submit(() -> scheduler.schedule(held).run(List.of(pass(1, 1, 1))));
    running.await();
    return future;
  }

  private <T> Future<T> as(String caller, Callable<T> work) {
    return threads.submit(() -> scheduler.<T, Exception>admit(caller, PATIENCE, work::call));
  }

  @Test
  void resultsAreThoseOfTheBackendWhateverElseRuns() throws Exception {
    List<List<Pass>> calls =
        IntStream.range(0, 60)
            .mapToObj(
                i -> IntStream.range(0, 1 + i % 4).mapToObj(j -> pass(100 * i + j, 1 + (i * j) % 50, i % 4)).toList())
            .toList();
    List<List<PassResult>> expected = calls.stream().map(direct::run).toList();
    List<Future<List<PassResult>>> results = new ArrayList<>();
    for (int i = 0; i < calls.size(); i++) {
      List<Pass> call = calls.get(i);
      results.add(i % 7 == 0
          ? threads.submit(() -> scheduler.<List<PassResult>, Exception>inBackground(() -> backend.run(call)))
          : as("user" + i % 5, () -> backend.run(call)));
    }
    for (int i = 0; i < calls.size(); i++) {
      assertSame(results.get(i).get(), expected.get(i));
    }
    assertThat(scheduler.waiting()).isZero();
    assertThat(scheduler.admitted()).isZero();
    assertThat(metrics.get("attune.llm.wait").tag("priority", "request").timer().count()).isEqualTo(51);
    assertThat(metrics.get("attune.llm.wait").tag("priority", "background").timer().count()).isEqualTo(9);
  }

  private void assertSame(List<PassResult> actual, List<PassResult> expected) {
    assertThat(actual).hasSameSizeAs(expected);
    for (int i = 0; i < actual.size(); i++) {
      assertThat(actual.get(i).logits()).isDeepEqualTo(expected.get(i).logits());
      assertThat(bytes(actual.get(i).kv())).isEqualTo(bytes(expected.get(i).kv()));
    }
  }

  private byte[] bytes(KvSegment segment) {
    return direct.image(Objects.requireNonNull(segment)).toArray(ValueLayout.JAVA_BYTE);
  }

  @Test
  void stepsThatWaitTogetherRunAsOneBatch() throws Exception {
    Future<List<PassResult>> busy = occupy();
    List<Future<List<PassResult>>> steps =
        IntStream.range(0, 16).mapToObj(i -> as("user" + i, () -> backend.run(List.of(pass(i, 1, 1))))).toList();
    Awaitility.await().until(() -> scheduler.admitted() == 16 && scheduler.waiting() >= 16);
    busy.cancel(true);
    for (Future<List<PassResult>> step : steps) {
      step.get();
    }
    assertThat(metrics.get("attune.llm.batch.passes").summary().max()).isEqualTo(16);
  }

  @Test
  void oneCallerWithManyCallsDoesNotKeepAnotherWaiting() throws Exception {
    Future<List<PassResult>> busy = occupy();
    List<String> order = Collections.synchronizedList(new ArrayList<>());
    List<Future<?>> all = new ArrayList<>();
    // Each fills a batch of its own, so that the order of the batches shows.
    for (int i = 0; i < 20; i++) {
      all.add(as("greedy", () -> order.add(done("greedy", 700))));
    }
    Awaitility.await().until(() -> scheduler.admitted() == 20);
    Awaitility.await().until(() -> scheduler.waiting() >= 20);
    for (String modest : List.of("b", "c")) {
      all.add(as(modest, () -> order.add(done(modest, 700))));
      all.add(as(modest, () -> order.add(done(modest, 700))));
    }
    int waiting = 24;
    Awaitility.await().until(() -> scheduler.waiting() >= waiting);
    busy.cancel(true);
    for (Future<?> one : all) {
      one.get();
    }
    // Two calls each of b and c are over after at most three of the twenty.
    assertThat(order.indexOf("b")).isLessThan(4);
    assertThat(Math.max(order.lastIndexOf("b"), order.lastIndexOf("c"))).isLessThanOrEqualTo(7);
    assertThat(order.lastIndexOf("greedy")).isEqualTo(23);
  }

  private String done(String caller, int tokens) {
    backend.run(List.of(pass(7, tokens, 1)));
    return caller;
  }

  @Test
  void backgroundWorkWaitsForEverybodyElse() throws Exception {
    Future<List<PassResult>> busy = occupy();
    List<String> order = Collections.synchronizedList(new ArrayList<>());
    Future<?> background =
        threads.submit(
            () ->
                scheduler.<Boolean, Exception>inBackground(
                    () -> {
                      backend.run(List.of(pass(1, 700, 1), pass(2, 700, 1)));
                      return order.add("background");
                    }));
    Awaitility.await().until(() -> scheduler.waiting() >= 2);
    List<Future<?>> requests = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      requests.add(as("user", () -> order.add(done("user", 700))));
    }
    Awaitility.await().until(() -> scheduler.admitted() == 5 && scheduler.waiting() >= 7);
    busy.cancel(true);
    for (Future<?> request : requests) {
      request.get();
    }
    background.get();
    assertThat(order).hasSize(6).last().isEqualTo("background");
  }

  @Test
  void aCancelledCallLeavesTheLineAndNobodyElseNotices() throws Exception {
    Future<List<PassResult>> busy = occupy();
    List<Future<List<PassResult>>> calls = new ArrayList<>();
    for (int i = 0; i < 20; i++) {
      int seed = i;
      calls.add(as("user" + i % 3, () -> backend.run(List.of(pass(seed, 20, 2), pass(seed + 50, 20, 2)))));
    }
    Awaitility.await().until(() -> scheduler.admitted() == 20 && scheduler.waiting() >= 40);
    for (int i = 0; i < 20; i += 2) {
      calls.get(i).cancel(true);
    }
    Awaitility.await().until(() -> scheduler.admitted() == 10);
    busy.cancel(true);
    for (int i = 1; i < 20; i += 2) {
      assertSame(calls.get(i).get(), direct.run(List.of(pass(i, 20, 2), pass(i + 50, 20, 2))));
    }
    assertThat(scheduler.waiting()).isZero();
  }

  @Test
  void whatRunsForNobodyIsStopped() throws Exception {
    long start = System.nanoTime();
    Future<List<PassResult>> busy = threads.submit(() -> backend.run(Collections.nCopies(20, pass(1, 1_000, LAYERS))));
    Awaitility.await().until(() -> metrics.get("attune.llm.batch.passes").summary().count() > 0);
    busy.cancel(true);
    backend.run(List.of(pass(1, 1, 1)));
    Duration cancelled = Duration.ofNanos(System.nanoTime() - start);
    start = System.nanoTime();
    direct.run(Collections.nCopies(20, pass(1, 1_000, LAYERS)));
    assertThat(cancelled).isLessThan(Duration.ofNanos(System.nanoTime() - start).dividedBy(2));
  }

  @Test
  void aWaitingCallEndsAtItsDeadline() throws Exception {
    Future<List<PassResult>> busy = occupy();
    Future<List<PassResult>> late =
        threads.submit(
            () ->
                scheduler.<List<PassResult>, Exception>admit(
                    "late", Duration.ofMillis(1), () -> backend.run(List.of(pass(1, 1, 1)))));
    assertThatThrownBy(() -> late.get(30, TimeUnit.SECONDS))
        .isInstanceOf(ExecutionException.class)
        .hasCauseInstanceOf(DeadlineExceededException.class);
    busy.cancel(true);
    assertThat(scheduler.admitted()).isZero();
  }

  @Test
  void oneRequestTooManyIsTurnedAway() throws Exception {
    CountDownLatch over = new CountDownLatch(1);
    try (Scheduler small = new Scheduler(2, new SimpleMeterRegistry())) {
      List<Future<?>> two =
          IntStream.range(0, 2)
              .<Future<?>>mapToObj(
                  i ->
                      threads.submit(
                          () ->
                              small.<Boolean, InterruptedException>admit(
                                  "same", PATIENCE, () -> over.await(30, TimeUnit.SECONDS))))
              .toList();
      Awaitility.await().until(() -> small.admitted() == 2);
      assertThatThrownBy(() -> small.<String, RuntimeException>admit("other", PATIENCE, () -> "never"))
          .isInstanceOfSatisfying(BusyException.class, e -> assertThat(e.retryAfter()).isPositive());
      over.countDown();
      for (Future<?> one : two) {
        one.get();
      }
      assertThat(small.<String, RuntimeException>admit("other", PATIENCE, () -> "now")).isEqualTo("now");
    }
  }

  @Test
  void aMistakeIsItsCallersAlone() throws Exception {
    Future<List<PassResult>> busy = occupy();
    Pass wrong = new Pass(new int[] {Integer.MAX_VALUE}, 0, List.of(), 1, true, Logits.NONE, null);
    Future<List<PassResult>> mistaken = as("a", () -> backend.run(List.of(wrong)));
    Future<List<PassResult>> right = as("b", () -> backend.run(List.of(pass(3, 1, 1))));
    Awaitility.await().until(() -> scheduler.waiting() >= 2 && scheduler.admitted() == 2);
    busy.cancel(true);
    assertSame(right.get(), direct.run(List.of(pass(3, 1, 1))));
    assertThatThrownBy(mistaken::get).hasCauseInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void closingEndsEveryWait() throws InterruptedException {
    occupy();
    List<Future<List<PassResult>>> calls =
        IntStream.range(0, 5).mapToObj(i -> as("u" + i, () -> backend.run(List.of(pass(i, 5, 1))))).toList();
    Awaitility.await().until(() -> scheduler.admitted() == 5 && scheduler.waiting() >= 5);
    scheduler.close();
    for (Future<List<PassResult>> call : calls) {
      assertThatThrownBy(call::get)
          .satisfiesAnyOf(
              e -> assertThat(e).hasCauseInstanceOf(CancellationException.class),
              e -> assertThat(e).isInstanceOf(CancellationException.class));
    }
    assertThatThrownBy(() -> backend.run(List.of(pass(1, 1, 1)))).isInstanceOf(CancellationException.class);
    assertThat(Arrays.asList(scheduler.waiting())).containsExactly(0);
  }
}
