package dev.attune.search;

import jakarta.annotation.PreDestroy;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.stereotype.Component;

/** Runs the parts of a search that it can do without: a late or failing part leaves its fallback. */
@Component
class OptionalParts {

  private static final Logger log = LoggerFactory.getLogger(OptionalParts.class);

  private final ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor();

  @PreDestroy
  void stop() {
    executor.shutdownNow();
  }

  <T> Future<T> start(Callable<T> work) {
    return executor.submit(work);
  }

  /**
   * Waits for a part until the limit. One that is late goes on and its result is dropped: an interrupt would close the
   * connection of a virtual thread that waits for the database.
   */
  <T> T await(String part, Future<T> future, Duration limit, T fallback, Degradation degradation) {
    return await(part, future, limit, fallback, degradation, false);
  }

  /** Waits for a part until the limit; one that is late is interrupted. For parts that use no database. */
  <T> T awaitOrInterrupt(String part, Future<T> future, Duration limit, T fallback, Degradation degradation) {
    return await(part, future, limit, fallback, degradation, true);
  }

  private static <T> T await(
      String part, Future<T> future, Duration limit, T fallback, Degradation degradation, boolean interrupt) {
    try {
      return future.get(Math.max(0, limit.toNanos()), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      future.cancel(interrupt);
      log.debug("{} was not ready within {} ms", part, limit.toMillis());
    } catch (ExecutionException e) {
      log.warn("{} failed, the search goes on without it", part, e.getCause());
    } catch (InterruptedException e) {
      future.cancel(interrupt);
      Thread.currentThread().interrupt();
      throw new SearchCancelledException();
    }
    degradation.add(part);
    return fallback;
  }
}
