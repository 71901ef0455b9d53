package dev.attune.web;

import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectReader;

/** Items of one JSON array, parsed one at a time. */
final class JsonArrayItems extends JsonItems {

  /** The parser reads ahead by its own buffer, which must not count against an item. */
  private static final int READ_AHEAD = 16_384;

  private final Metered in;
  private final JsonParser parser;
  private final ObjectReader json;
  private final int maxBytes;
  private long index;

  JsonArrayItems(InputStream in, ObjectReader json, int maxBytes) {
    this.in = new Metered(in);
    this.json = json;
    this.maxBytes = maxBytes;
    this.in.allow(maxBytes + READ_AHEAD);
    this.parser = json.createParser(this.in);
    parser.nextToken();
  }

  @Override
  @Nullable JsonItem read() {
    in.allow(maxBytes + READ_AHEAD);
    try {
      JsonToken token = parser.nextToken();
      if (token == JsonToken.END_ARRAY) {
        end();
        return parser.nextToken() == null ? null : malformed("there is more after the end of the array");
      }
      if (token == null) {
        return malformed("the array breaks off");
      }
      JsonNode node = json.readTree(parser);
      return new JsonItem.Value(index++, node);
    } catch (JacksonException e) {
      if (in.exhausted) {
        return malformed("longer than " + maxBytes + " bytes (attune.web.max-item); what follows was not read");
      }
      return malformed(JsonItemReader.reason(e) + "; what follows was not read");
    }
  }

  private JsonItem malformed(String reason) {
    end();
    return new JsonItem.Malformed(index++, reason);
  }

  /** Gives no more bytes than were allowed for one item. */
  private static final class Metered extends FilterInputStream {
    private long left;
    private boolean exhausted;

    Metered(InputStream in) {
      super(in);
    }

    void allow(long bytes) {
      left = bytes;
    }

    @Override
    public int read() throws IOException {
      int c = super.read();
      if (c != -1) {
        spend(1);
      }
      return c;
    }

    @Override
    public int read(byte[] buffer, int offset, int length) throws IOException {
      int n = super.read(buffer, offset, length);
      if (n > 0) {
        spend(n);
      }
      return n;
    }

    private void spend(int bytes) throws IOException {
      left -= bytes;
      if (left < 0) {
        exhausted = true;
        throw new IOException("item too long");
      }
    }
  }
}
