package dev.attune.web;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.ObjectReader;

/** Items of newline-delimited JSON. */
final class JsonLines extends JsonItems {

  private final InputStream in;
  private final ObjectReader json;
  private final int maxBytes;
  private final ByteArrayOutputStream line = new ByteArrayOutputStream(1024);
  private long index;

  JsonLines(InputStream in, ObjectReader json, int maxBytes) {
    this.in = in;
    this.json = json;
    this.maxBytes = maxBytes;
  }

  @Override
  @Nullable JsonItem read() throws IOException {
    while (true) {
      line.reset();
      boolean tooLong = false;
      boolean blank = true;
      int c;
      while ((c = in.read()) != -1 && c != '\n') {
        blank &= c == ' ' || c == '\t' || c == '\r';
        if (line.size() < maxBytes) {
          line.write(c);
        } else {
          tooLong = true;
        }
      }
      if (!blank) {
        return tooLong ? tooLong() : parse(line.toByteArray());
      }
      if (c == -1) {
        return null;
      }
    }
  }

  private JsonItem tooLong() {
    return new JsonItem.Malformed(index++, "longer than " + maxBytes + " bytes (attune.web.max-item)");
  }

  private JsonItem parse(byte[] bytes) {
    try {
      return new JsonItem.Value(index, json.readTree(bytes));
    } catch (JacksonException e) {
      return new JsonItem.Malformed(index, JsonItemReader.reason(e));
    } finally {
      index++;
    }
  }
}
