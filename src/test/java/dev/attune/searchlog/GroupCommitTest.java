package dev.attune.searchlog;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
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

@Timeout(30)
class GroupCommitTest {

  private static final int ERROR = -100;

  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
  private final List<List<Integer>> stored = new ArrayList<>();
  private final CountDownLatch firstRuns = new CountDownLatch(1);
  private final CountDownLatch goOn = new CountDownLatch(1);
  /** The first item's store lasts until {@link #goOn}; a negative item cannot be stored, {@link #ERROR} ends in one. */
  private final GroupCommit<Integer> commit = new GroupCommit<>(this::store);

  private void store(List<Integer> items) {
    if (items.contains(0)) {
      firstRuns.countDown();
      await(goOn);
    }
    if (items.equals(List.of(ERROR))) {
      throw new StackOverflowError("for a test");
    }
    if (items.stream().anyMatch(i -> i < 0)) {
      throw new IllegalArgumentException("not " + items);
    }
    stored.add(items);
  }

  @AfterEach
  void end() {
    threads.shutdownNow();
  }

  @Test
  void whatComesWhileOneIsStoredIsStoredTogether() throws Exception {
    List<Future<?>> all = startBehindTheFirst(IntStream.rangeClosed(1, 20).boxed().toList());
    goOn.countDown();
    for (Future<?> one : all) {
      one.get();
    }
    assertThat(stored).hasSize(2);
    assertThat(stored.getFirst()).containsExactly(0);
    assertThat(stored.getLast()).containsExactlyInAnyOrderElementsOf(IntStream.rangeClosed(1, 20).boxed().toList());
  }

  @Test
  void moreThanATransactionTakesGoInSeveral() throws Exception {
    List<Future<?>> all = startBehindTheFirst(IntStream.rangeClosed(1, 150).boxed().toList());
    goOn.countDown();
    for (Future<?> one : all) {
      one.get();
    }
    assertThat(stored.stream().map(List::size)).containsExactly(1, 64, 64, 22);
    assertThat(stored.stream().flatMap(List::stream)).doesNotHaveDuplicates().hasSize(151);
  }

  @Test
  void onlyTheOneAtFaultIsToldOfAFailure() throws Exception {
    List<Future<?>> all = startBehindTheFirst(List.of(1, -2, 3));
    goOn.countDown();
    all.get(0).get();
    all.get(1).get();
    all.get(3).get();
    assertThatThrownBy(all.get(2)::get).hasRootCauseMessage("not [-2]");
    assertThat(stored.stream().flatMap(List::stream)).containsExactlyInAnyOrder(0, 1, 3);
  }

  @Test
  void whoIsNotToldOfAFailureIsStored() throws Exception {
    List<Integer> items = new ArrayList<>(List.of(1, ERROR));
    items.addAll(IntStream.rangeClosed(2, 20).boxed().toList());
    List<Future<?>> all = startBehindTheFirst(items);
    goOn.countDown();
    all.getFirst().get();
    List<Integer> told = new ArrayList<>();
    for (int i = 0; i < items.size(); i++) {
      try {
        all.get(i + 1).get();
      } catch (ExecutionException e) {
        told.add(items.get(i));
      }
    }
    List<Integer> notStored = new ArrayList<>(items);
    notStored.removeAll(stored.stream().flatMap(List::stream).toList());
    assertThat(told).contains(ERROR).containsAll(notStored);
  }

  @Test
  void anInterruptOfTheThreadThatStoresIsNotForTheOthers() throws Exception {
    List<Integer> kept = new ArrayList<>();
    CountDownLatch begun = new CountDownLatch(1);
    GroupCommit<Integer> interrupted = new GroupCommit<>(items -> {
      if (items.equals(List.of(0))) {
        begun.countDown();
        await(goOn);
      } else if (items.size() > 1) {
        Thread.currentThread().interrupt();
      }
      if (Thread.currentThread().isInterrupted()) {
        throw new IllegalStateException("The connection was closed");
      }
      kept.addAll(items);
    });
    List<Future<Boolean>> all = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      int item = i;
      all.add(threads.submit(() -> {
        interrupted.store(item);
        return Thread.interrupted();
      }));
      assertThat(begun.await(10, TimeUnit.SECONDS)).isTrue();
    }
    Awaitility.await().until(() -> interrupted.waiting() == 3);
    goOn.countDown();
    List<Boolean> flags = new ArrayList<>();
    for (Future<Boolean> one : all) {
      flags.add(one.get());
    }
    assertThat(kept).containsExactlyInAnyOrder(0, 1, 2, 3);
    assertThat(flags).as("who stored was interrupted").containsExactlyInAnyOrder(true, false, false, false);
  }

  @Test
  void manyThreadsStoreEachItemOnce() throws Exception {
    List<Callable<Void>> calls = new ArrayList<>();
    for (int i = 1; i <= 2_000; i++) {
      int item = i;
      calls.add(() -> {
        commit.store(item);
        return null;
      });
    }
    for (Future<Void> one : threads.invokeAll(calls)) {
      one.get();
    }
    assertThat(stored.stream().flatMap(List::stream)).doesNotHaveDuplicates().hasSize(2_000);
  }

  /** Stores 0, and the others while that lasts. */
  private List<Future<?>> startBehindTheFirst(List<Integer> items) throws InterruptedException {
    List<Future<?>> all = new ArrayList<>();
    all.add(threads.submit(() -> commit.store(0)));
    assertThat(firstRuns.await(10, TimeUnit.SECONDS)).isTrue();
    items.forEach(item -> all.add(threads.submit(() -> commit.store(item))));
    Awaitility.await().until(() -> commit.waiting() == items.size());
    return all;
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
