package dev.attune.web;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Iterator;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.springframework.stereotype.Component;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.ObjectReader;
import tools.jackson.databind.json.JsonMapper;

/**
 * Reads bulk bodies of any size, item by item: newline-delimited JSON, or one JSON array (told apart by the first
 * character). A malformed line is one {@link JsonItem.Malformed} and reading goes on with the next line; after
 * malformed JSON inside an array nothing can be told apart any more, so that item is the last.
 */
@Component
public final class JsonItemReader {

  private static final int BYTE_ORDER_MARK = 0xEF;

  private final ObjectReader line;
  private final ObjectReader element;
  private final int maxItemBytes;

  JsonItemReader(JsonMapper mapper, WebProperties properties) {
    this.line = mapper.reader().with(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    this.element = mapper.reader().without(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    this.maxItemBytes = Math.toIntExact(properties.maxItem().toBytes());
  }

  /**
   * Reads lazily; memory is bounded by the longest allowed item ({@code attune.web.max-item}).
   *
   * @throws UncheckedIOException from the stream, when the body breaks off
   */
  public Stream<JsonItem> read(InputStream body) {
    try {
      InputStream in = new BufferedInputStream(body, 1 << 16);
      int first = skipToContent(in);
      Iterator<JsonItem> items =
          first == '[' ? new JsonArrayItems(in, element, maxItemBytes) : new JsonLines(in, line, maxItemBytes);
      return StreamSupport.stream(
          Spliterators.spliteratorUnknownSize(items, Spliterator.ORDERED | Spliterator.NONNULL), false);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Leaves the stream before the first character that is neither blank nor a byte order mark, and returns it. */
  private static int skipToContent(InputStream in) throws IOException {
    while (true) {
      in.mark(3);
      int c = in.read();
      if (c == BYTE_ORDER_MARK && in.readNBytes(2).length == 2) {
        continue;
      }
      if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
        in.reset();
        return c;
      }
    }
  }

  /** The parser's complaint without its source, which may hold private text. */
  static String reason(JacksonException e) {
    String where = e.getLocation() == null ? "" : " at column " + e.getLocation().getColumnNr();
    return "not valid JSON" + where + ": " + e.getOriginalMessage();
  }
}
