package dev.attune.searchlog;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import org.apache.commons.codec.digest.DigestUtils;
import tools.jackson.databind.JsonNode;

/** SHA-256 of a JSON value that does not depend on the order of fields or on white space. */
final class CanonicalHash {

  private final MessageDigest digest = DigestUtils.getSha256Digest();

  private CanonicalHash() {}

  /** Returns 64 hexadecimal digits. */
  static String of(JsonNode node) {
    CanonicalHash hash = new CanonicalHash();
    hash.add(node);
    return HexFormat.of().formatHex(hash.digest.digest());
  }

  private void add(JsonNode node) {
    if (node.isObject()) {
      digest.update((byte) '{');
      Map<String, JsonNode> sorted = new TreeMap<>();
      node.properties().forEach(p -> sorted.put(p.getKey(), p.getValue()));
      sorted.forEach(
          (name, value) -> {
            add('k', name);
            add(value);
          });
      digest.update((byte) '}');
    } else if (node.isArray()) {
      digest.update((byte) '[');
      node.forEach(this::add);
      digest.update((byte) ']');
    } else if (node.isString()) {
      add('s', node.stringValue());
    } else {
      add('v', node.toString());
    }
  }

  /** The length keeps apart values that would read the same when put one after the other. */
  private void add(char kind, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    digest.update((kind + Integer.toString(bytes.length) + ':').getBytes(StandardCharsets.US_ASCII));
    digest.update(bytes);
  }
}
