package dev.attune.llm.hub;

import dev.attune.llm.ModelFileException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongConsumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Brings one file, continuing where an earlier attempt, of this or a former process, was cut off. */
final class HubDownload {

  private static final Logger log = LoggerFactory.getLogger(HubDownload.class);

  private static final int ATTEMPTS_WITHOUT_PROGRESS = 5;
  private static final Duration STALLED = Duration.ofSeconds(60);
  private static final long REPORT_BYTES = 4L << 20;

  private final HttpClient client;
  private final Duration pause;

  HubDownload(HttpClient client, Duration pause) {
    this.client = client;
    this.pause = pause;
  }

  /**
   * Brings the file.
   *
   * @param part where it grows; complete when this returns
   * @param size bytes it must have
   */
  void run(URI source, Path part, long size, LongConsumer progress) throws IOException {
    if (Files.exists(part) && Files.size(part) > size) {
      Files.delete(part);
    }
    long missing = size - (Files.exists(part) ? Files.size(part) : 0);
    long room = Files.getFileStore(part.toAbsolutePath().getParent()).getUsableSpace();
    if (missing > room) {
      throw new ModelFileException("%s needs %d MB more, but %s has %d MB free"
          .formatted(part.getFileName(), missing >> 20, part.getParent(), room >> 20));
    }
    int failures = 0;
    while (!Files.exists(part) || Files.size(part) < size) {
      long before = Files.exists(part) ? Files.size(part) : 0;
      try {
        attempt(source, part, before, size, progress);
      } catch (InterruptedIOException e) {
        throw e;
      } catch (IOException e) {
        long now = Files.exists(part) ? Files.size(part) : 0;
        failures = now > before ? 0 : failures + 1;
        if (failures >= ATTEMPTS_WITHOUT_PROGRESS) {
          throw new IOException("%s: %d attempts brought nothing (%s); %d of %d bytes are kept, fetch again to go on"
              .formatted(source, failures, e.getMessage(), now, size), e);
        }
        log.info("{} was cut off at {} of {} bytes ({}); it goes on from there", source, now, size, e.toString());
        sleep(pause.multipliedBy(1L << failures));
      }
    }
    progress.accept(size);
  }

  private void attempt(URI source, Path part, long from, long size, LongConsumer progress) throws IOException {
    HttpRequest.Builder request = HttpRequest.newBuilder(source).timeout(STALLED);
    if (from > 0) {
      request.header("Range", "bytes=" + from + "-");
    }
    HttpResponse<InputStream> response = Hub.send(client, request.build());
    try (InputStream body = response.body()) {
      int status = response.statusCode();
      boolean continues = status == 206 && response.headers().firstValue("Content-Range").orElse("")
          .startsWith("bytes " + from + "-");
      if (status == 404) {
        throw new ModelFileException(source + " does not exist, though the hub lists it");
      }
      if (status == 416 || status == 206 && !continues) {
        Files.deleteIfExists(part);
        throw new IOException("the server cannot continue at byte " + from);
      }
      if (status != 200 && status != 206) {
        throw new IOException("status " + status);
      }
      copy(body, part, continues ? from : 0, size, progress);
    }
  }

  private static void copy(InputStream body, Path part, long from, long size, LongConsumer progress)
      throws IOException {
    AtomicLong received = new AtomicLong(from);
    Thread watch = Thread.ofVirtual().start(() -> closeWhenStalled(body, received));
    try (OutputStream out = Files.newOutputStream(part, StandardOpenOption.CREATE, StandardOpenOption.WRITE,
        from > 0 ? StandardOpenOption.APPEND : StandardOpenOption.TRUNCATE_EXISTING)) {
      byte[] buffer = new byte[1 << 16];
      long reported = from;
      for (int read; (read = body.read(buffer)) >= 0; ) {
        if (received.get() + read > size) {
          throw new ModelFileException("%s: more than the %d bytes that the hub announced"
              .formatted(part.getFileName(), size));
        }
        out.write(buffer, 0, read);
        if (received.addAndGet(read) - reported >= REPORT_BYTES) {
          reported = received.get();
          progress.accept(reported);
        }
      }
    } catch (ModelFileException e) {
      Files.deleteIfExists(part);
      throw e;
    } finally {
      watch.interrupt();
    }
    if (received.get() < size) {
      throw new IOException("the connection ended early");
    }
  }

  private static void closeWhenStalled(InputStream body, AtomicLong received) {
    try {
      for (long seen = -1; received.get() != seen; ) {
        seen = received.get();
        TimeUnit.MILLISECONDS.sleep(STALLED.toMillis());
      }
      body.close();
    } catch (InterruptedException | IOException e) {
      // The copy is over, one way or the other.
    }
  }

  private static void sleep(Duration time) throws InterruptedIOException {
    try {
      Thread.sleep(time);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("Interrupted while downloading");
    }
  }
}
