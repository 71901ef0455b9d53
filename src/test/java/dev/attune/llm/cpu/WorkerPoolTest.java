package dev.attune.llm.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.Test;

class WorkerPoolTest {

  @Test
  void runsEveryTaskOnceThoughHelpersParkBetweenLoops() throws InterruptedException {
    try (WorkerPool pool = new WorkerPool(4)) {
      for (int loop = 0; loop < 300; loop++) {
        AtomicIntegerArray runs = new AtomicIntegerArray(loop % 40);
        pool.forEach(runs.length(), (task, worker) -> runs.incrementAndGet(task));
        for (int task = 0; task < runs.length(); task++) {
          assertThat(runs.get(task)).as("task %d of loop %d", task, loop).isOne();
        }
        if (loop % 50 == 0) {
          // Longer than helpers stay awake.
          Thread.sleep(10);
        }
      }
    }
  }

  @Test
  void threadsShareALoopAndAWorkerIsOneThread() {
    try (WorkerPool pool = new WorkerPool(3)) {
      CountDownLatch together = new CountDownLatch(3);
      Thread[] threads = new Thread[3];
      pool.forEach(3, (task, worker) -> {
        threads[worker] = Thread.currentThread();
        together.countDown();
        // Ends only if three threads are in the loop at once.
        assertThat(await(together)).isTrue();
      });
      assertThat(Arrays.stream(threads).distinct()).hasSize(3).doesNotContainNull();
    }
  }

  @Test
  void anErrorOfATaskReachesTheCallerAndThePoolGoesOn() {
    try (WorkerPool pool = new WorkerPool(2)) {
      assertThatThrownBy(() -> pool.forEach(100, (task, worker) -> {
        if (task == 17) {
          throw new IllegalStateException("task 17");
        }
      })).isInstanceOf(IllegalStateException.class).hasMessage("task 17");
      ConcurrentHashMap<Integer, Boolean> done = new ConcurrentHashMap<>();
      pool.forEach(50, (task, worker) -> done.put(task, true));
      assertThat(done).hasSize(50);
    }
  }

  private static boolean await(CountDownLatch latch) {
    try {
      return latch.await(30, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
