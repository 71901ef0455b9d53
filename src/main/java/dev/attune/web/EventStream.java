package dev.attune.web;

import java.io.IOException;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.web.ErrorResponseException;
import org.springframework.web.servlet.mvc.method.annotation.SseEmitter;

/**
 * Answers a request with server-sent events from a thread of its own. A client that leaves is noticed at the next event
 * or heartbeat, and the work is interrupted. Work that fails ends the stream with an {@code error} event
 * whose data has the members of an RFC 9457 problem.
 */
public final class EventStream {

  private static final Logger log = LoggerFactory.getLogger(EventStream.class);

  /** Streams at a time, each with a thread: while a database does not answer, threads must not be used up. */
  private static final Semaphore FREE = new Semaphore(256);

  private final SseEmitter emitter;
  private final Duration heartbeat;
  private final AtomicBoolean ended = new AtomicBoolean();

  private EventStream(SseEmitter emitter, Duration heartbeat) {
    this.emitter = emitter;
    this.heartbeat = heartbeat;
  }

  /**
   * Starts the work.
   *
   * @param timeout longest life of the stream
   * @param heartbeat how often to check that the client is still there, with a comment that it ignores
   * @param abandoned called when the client left before the work was done
   * @throws ErrorResponseException 503 when too many streams are open
   */
  public static SseEmitter open(Duration timeout, Duration heartbeat, Work work, Runnable abandoned) {
    if (!FREE.tryAcquire()) {
      throw Problems.of(HttpStatus.SERVICE_UNAVAILABLE, "Too many answers are being streamed; try again in a moment.");
    }
    // The stream ends itself a moment earlier than the container would.
    EventStream stream = new EventStream(new SseEmitter(timeout.toMillis() + 5_000), heartbeat);
    stream.start(timeout, work, abandoned);
    return stream.emitter;
  }

  private void start(Duration timeout, Work work, Runnable abandoned) {
    // Not a virtual thread: an interrupt would close the connection to the database that it waits for.
    Thread worker = Thread.ofPlatform().daemon().name("event-stream").unstarted(() -> run(work, abandoned));
    emitter.onCompletion(worker::interrupt);
    emitter.onError(e -> worker.interrupt());
    worker.start();
    long end = System.nanoTime() + timeout.toNanos();
    Thread.ofVirtual().name("event-stream-heartbeat").start(() -> watch(worker, end));
  }

  private void run(Work work, Runnable abandoned) {
    try {
      work.run(this::send);
      finish();
    } catch (ClientGoneException e) {
      abandoned.run();
      finish();
    } catch (ErrorResponseException e) {
      fail(String.valueOf(e.getBody().getDetail()), e.getStatusCode().value());
    } catch (Exception e) {
      if (Thread.currentThread().isInterrupted() || e instanceof InterruptedException) {
        abandoned.run();
        finish();
      } else {
        log.error("A streamed answer failed", e);
        fail("Something went wrong in the service; its log has the details.", 500);
      }
    } finally {
      FREE.release();
    }
  }

  private void watch(Thread worker, long end) {
    try {
      while (!worker.join(heartbeat)) {
        if (System.nanoTime() - end > 0) {
          fail("The answer took too long and was cut off.", 503);
          worker.interrupt();
          return;
        }
        emitter.send(SseEmitter.event().comment(""));
      }
    } catch (IOException | IllegalStateException e) {
      worker.interrupt();
    } catch (InterruptedException e) {
      worker.interrupt();
      Thread.currentThread().interrupt();
    }
  }

  private void send(String event, Object data) {
    if (Thread.currentThread().isInterrupted()) {
      throw new ClientGoneException(null);
    }
    try {
      emitter.send(SseEmitter.event().name(event).data(data, MediaType.APPLICATION_JSON));
    } catch (IOException | IllegalStateException e) {
      throw new ClientGoneException(e);
    }
  }

  private void fail(String detail, int status) {
    if (ended.compareAndSet(false, true)) {
      try {
        Map<String, Object> problem = Map.of("type", "about:blank", "status", status, "detail", detail);
        emitter.send(SseEmitter.event().name("error").data(problem, MediaType.APPLICATION_JSON));
      } catch (IOException | IllegalStateException e) {
        log.debug("The client left before it was told of an error", e);
      }
      emitter.complete();
    }
  }

  private void finish() {
    if (ended.compareAndSet(false, true)) {
      emitter.complete();
    }
  }

  /** What is done while the client listens. */
  @FunctionalInterface
  public interface Work {
    void run(Sender sender) throws Exception;
  }

  /** Sends one event. */
  @FunctionalInterface
  public interface Sender {

    /**
     * Sends data as JSON.
     *
     * @throws ClientGoneException when nobody listens any more: give up
     */
    void send(String event, Object data);
  }

  /** The client closed the connection. */
  public static final class ClientGoneException extends RuntimeException {

    private static final long serialVersionUID = 1;

    ClientGoneException(@Nullable Throwable cause) {
      super("the client is gone", cause);
    }
  }
}
