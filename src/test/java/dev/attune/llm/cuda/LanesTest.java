package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Threads and tasks alone: the tasks use no device. */
@Timeout(60)
class LanesTest {

  /** A lane without a device. */
  private static Lane none(int index) {
    return new Lane(null, null) {
      @Override
      public void close() {}
    };
  }

  private static void await(CountDownLatch latch) {
    try {
      assertThat(latch.await(30, TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException e) {
      throw new CancellationException("interrupted");
    }
  }

  @Test
  void tasksRunSideBySideAndOneAtATimeInALane() {
    AtomicInteger running = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    try (Lanes lanes = new Lanes("test", 2, LanesTest::none)) {
      List<Lanes.Task<Integer>> tasks = new ArrayList<>();
      CountDownLatch both = new CountDownLatch(2);
      for (int i = 0; i < 200; i++) {
        int number = i;
        tasks.add(lanes.submit(lane -> {
          most.accumulateAndGet(running.incrementAndGet(), Math::max);
          both.countDown();
          await(both);
          running.decrementAndGet();
          return number;
        }, () -> {}));
      }
      for (int i = 0; i < 200; i++) {
        assertThat(tasks.get(i).await()).isEqualTo(i);
      }
    }
    assertThat(most).hasValue(2);
  }

  @Test
  void whatComesAfterRunsOnceAndBeforeTheOutcome() {
    try (Lanes lanes = new Lanes("test", 1, LanesTest::none)) {
      AtomicInteger after = new AtomicInteger();
      assertThat(lanes.submit(lane -> 7, after::incrementAndGet).await()).isEqualTo(7);
      assertThat(after).hasValue(1);
      assertThatThrownBy(() -> lanes.submit(lane -> {
        throw new IllegalArgumentException("wrong");
      }, after::incrementAndGet).await()).hasMessage("wrong");
      assertThat(after).hasValue(2);
    }
  }

  @Test
  void aCancelledTaskKeepsWhatItUsesUntilItHasEnded() {
    try (Lanes lanes = new Lanes("test", 1, LanesTest::none)) {
      CountDownLatch begun = new CountDownLatch(1);
      AtomicBoolean goOn = new AtomicBoolean();
      AtomicBoolean interrupted = new AtomicBoolean();
      AtomicInteger after = new AtomicInteger();
      Lanes.Task<Integer> running = lanes.submit(lane -> {
        begun.countDown();
        while (!goOn.get()) {
          LockSupport.parkNanos(100_000);
        }
        interrupted.set(Thread.interrupted());
        return 1;
      }, after::incrementAndGet);
      AtomicBoolean ran = new AtomicBoolean();
      Lanes.Task<Integer> waiting = lanes.submit(lane -> {
        ran.set(true);
        return 2;
      }, after::incrementAndGet);
      await(begun);
      waiting.cancel();
      running.cancel();
      assertThat(after).hasValue(0);
      goOn.set(true);
      assertThat(running.await()).isEqualTo(1);
      assertThat(interrupted).isTrue();
      assertThatThrownBy(waiting::await).isInstanceOf(CancellationException.class);
      assertThat(ran).isFalse();
      assertThat(after).hasValue(2);
      // The interrupt was for the task that has ended.
      assertThat(lanes.submit(lane -> Thread.currentThread().isInterrupted(), () -> {}).await()).isFalse();
    }
  }

  @Test
  void aLaneThatCannotBeOpenedIsTriedAgain() {
    AtomicInteger tries = new AtomicInteger();
    try (Lanes lanes = new Lanes("test", 1, index -> {
      if (tries.getAndIncrement() == 0) {
        throw new CudaException("out of memory");
      }
      return none(index);
    })) {
      assertThatThrownBy(() -> lanes.submit(lane -> 1, () -> {}).await()).hasMessage("out of memory");
      assertThat(lanes.submit(lane -> 2, () -> {}).await()).isEqualTo(2);
    }
  }

  @Test
  void closingEndsWhatWasHandedInAndRefusesMore() {
    Lanes lanes = new Lanes("test", 2, LanesTest::none);
    List<Lanes.Task<Integer>> tasks = new ArrayList<>();
    for (int i = 0; i < 50; i++) {
      tasks.add(lanes.submit(lane -> {
        LockSupport.parkNanos(100_000);
        return 1;
      }, () -> {}));
    }
    lanes.close();
    tasks.forEach(task -> assertThat(task.await()).isEqualTo(1));
    AtomicInteger after = new AtomicInteger();
    assertThatThrownBy(() -> lanes.submit(lane -> 1, after::incrementAndGet).await()).hasMessageContaining("closed");
    assertThat(after).hasValue(1);
  }
}
