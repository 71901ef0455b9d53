package dev.attune.searchlog;

import dev.attune.web.JsonItemReader;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.zip.GZIPInputStream;
import org.springframework.stereotype.Component;

/**
 * Takes in log files: NDJSON, a JSON array, or tab-separated values (name ends in {@code .tsv}) whose last column is
 * the item; each also compressed ({@code .gz}).
 */
@Component
class LogFiles {

  private final PostgresSearchLog log;
  private final JsonItemReader reader;

  LogFiles(PostgresSearchLog log, JsonItemReader reader) {
    this.log = log;
    this.reader = reader;
  }

  SearchLog.IngestReport ingest(Path file) throws IOException {
    try (InputStream in = open(file)) {
      return log.ingestItems(reader.read(in));
    }
  }

  private static InputStream open(Path file) throws IOException {
    String name = String.valueOf(file.getFileName()).toLowerCase(Locale.ROOT);
    InputStream raw = Files.newInputStream(file);
    try {
      InputStream in = name.endsWith(".gz") ? new GZIPInputStream(raw, 1 << 16) : raw;
      return name.endsWith(".tsv") || name.endsWith(".tsv.gz") ? new LastColumn(in) : in;
    } catch (IOException e) {
      raw.close();
      throw e;
    }
  }

  /** Leaves out, on each line, what comes before JSON: JSON itself holds no raw tabs in texts. */
  private static final class LastColumn extends FilterInputStream {

    private boolean inJson;

    LastColumn(InputStream in) {
      super(in);
    }

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      int n = read(one, 0, 1);
      return n < 0 ? -1 : one[0] & 0xFF;
    }

    @Override
    public int read(byte[] buffer, int offset, int length) throws IOException {
      int kept = 0;
      while (kept == 0 && length > 0) {
        int n = super.read(buffer, offset, length);
        if (n < 0) {
          return -1;
        }
        for (int i = offset; i < offset + n; i++) {
          byte b = buffer[i];
          inJson = b != '\n' && (inJson || b == '{' || b == '[');
          if (inJson || b == '\n') {
            buffer[offset + kept++] = b;
          }
        }
      }
      return kept;
    }

    @Override
    public boolean markSupported() {
      return false;
    }
  }
}
