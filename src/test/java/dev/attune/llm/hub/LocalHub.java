package dev.attune.llm.hub;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import org.apache.commons.codec.digest.DigestUtils;
import tools.jackson.databind.json.JsonMapper;

/** A hub on this machine with one model, {@code tiny/model}, that can be made to misbehave. */
public final class LocalHub implements AutoCloseable {

  public static final String COMMIT = "0123456789abcdef0123456789abcdef01234567";

  public final Map<String, byte[]> files = new LinkedHashMap<>();
  /** Requests for files: path and Range header. */
  public final List<String> requests = Collections.synchronizedList(new ArrayList<>());
  /** Bytes after which a connection is cut; 0 cuts before the first. */
  public volatile int cutAfter = Integer.MAX_VALUE;
  public volatile boolean ranges = true;
  /** Whether the content differs from what is listed. */
  public volatile boolean corrupt;
  public volatile boolean redirects;
  public volatile String absent = "";
  public volatile int status = 200;

  private final HttpServer server;

  public LocalHub() throws IOException {
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.setExecutor(Executors.newVirtualThreadPerTaskExecutor());
    server.createContext("/", this::handle);
    server.start();
  }

  public URI endpoint() {
    return URI.create("http://127.0.0.1:" + server.getAddress().getPort());
  }

  private void handle(HttpExchange exchange) throws IOException {
    try (exchange) {
      String path = exchange.getRequestURI().getPath();
      if (status != 200) {
        exchange.sendResponseHeaders(status, -1);
      } else if (path.equals("/api/models/tiny/model/revision/main")) {
        json(exchange, Map.of("sha", COMMIT));
      } else if (path.equals("/api/models/tiny/model/tree/" + COMMIT)) {
        json(exchange, files.entrySet().stream().map(file -> entry(file.getKey(), file.getValue())).toList());
      } else if (path.startsWith("/tiny/model/resolve/" + COMMIT + "/") && redirects) {
        exchange.getResponseHeaders().add("Location", "/elsewhere/" + path.substring(path.lastIndexOf('/') + 1));
        exchange.sendResponseHeaders(302, -1);
      } else if (path.startsWith("/tiny/model/resolve/" + COMMIT + "/") || path.startsWith("/elsewhere/")) {
        send(exchange, path.substring(path.lastIndexOf('/') + 1));
      } else {
        exchange.sendResponseHeaders(404, -1);
      }
    }
  }

  private void send(HttpExchange exchange, String name) throws IOException {
    String range = exchange.getRequestHeaders().getFirst("Range");
    requests.add(name + " " + range);
    byte[] content = files.get(name);
    if (content == null || name.equals(absent)) {
      exchange.sendResponseHeaders(404, -1);
      return;
    }
    int from = range != null && ranges ? Integer.parseInt(range.replaceAll("bytes=(\\d+)-", "$1")) : 0;
    byte[] body = Arrays.copyOfRange(content, from, content.length);
    if (corrupt) {
      body[body.length - 1] ^= 1;
    }
    if (from > 0) {
      exchange.getResponseHeaders().add("Content-Range",
          "bytes %d-%d/%d".formatted(from, content.length - 1, content.length));
    }
    exchange.sendResponseHeaders(from > 0 ? 206 : 200, body.length);
    OutputStream out = exchange.getResponseBody();
    out.write(body, 0, Math.min(cutAfter, body.length));
    out.flush();
  }

  private static Map<String, Object> entry(String name, byte[] content) {
    Map<String, Object> entry = new LinkedHashMap<>(Map.of("type", "file", "path", name, "size", content.length,
        "oid", hash("SHA-1", ("blob " + content.length + "\0").getBytes(StandardCharsets.US_ASCII), content)));
    if (!name.endsWith(".json")) {
      entry.put("lfs", Map.of("oid", hash("SHA-256", content), "size", content.length));
    }
    return entry;
  }

  static String hash(String algorithm, byte[]... parts) {
    MessageDigest digest = DigestUtils.getDigest(algorithm);
    Arrays.stream(parts).forEach(digest::update);
    return HexFormat.of().formatHex(digest.digest());
  }

  private static void json(HttpExchange exchange, Object value) {
    try {
      byte[] body = JsonMapper.shared().writeValueAsBytes(value);
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    server.stop(0);
  }
}
