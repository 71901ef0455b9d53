package dev.attune.entity;

import java.io.IOException;
import java.time.Duration;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Writes the image of the knowledge base a while after the last of several changes, and at the end of the service. */
final class ImageWriter implements AutoCloseable {

  private static final Logger log = LoggerFactory.getLogger(ImageWriter.class);
  private static final Duration SETTLE = Duration.ofSeconds(10);

  private final KnowledgeImage image;
  private @Nullable Pending pending;
  private @Nullable Thread thread;
  private boolean closed;

  /** What is to be written. */
  private record Pending(UUID revision, KnowledgeSnapshot snapshot) {}

  ImageWriter(KnowledgeImage image) {
    this.image = image;
  }

  synchronized void changed(UUID revision, KnowledgeSnapshot snapshot) {
    pending = new Pending(revision, snapshot);
    if (thread == null && !closed) {
      thread = Thread.ofPlatform().name("knowledge-image").daemon().start(this::run);
    }
    notifyAll();
  }

  private void run() {
    Pending next;
    while ((next = settled()) != null) {
      try {
        image.write(next.revision, next.snapshot);
      } catch (IOException e) {
        log.warn("The image of the knowledge base could not be written; the next start reads the database: {}",
            e.toString());
      }
    }
  }

  /** Waits until nothing has changed for a while; null at the end. */
  private synchronized @Nullable Pending settled() {
    try {
      while (pending == null && !closed) {
        wait();
      }
      Pending seen = null;
      while (pending != seen && !closed) {
        seen = pending;
        wait(SETTLE.toMillis());
      }
    } catch (InterruptedException e) {
      closed = true;
    }
    Pending next = pending;
    pending = null;
    return next;
  }

  /** Writes what is left. */
  @Override
  public void close() throws InterruptedException {
    Thread running;
    synchronized (this) {
      closed = true;
      notifyAll();
      running = thread;
    }
    if (running != null) {
      running.join();
    }
  }
}
