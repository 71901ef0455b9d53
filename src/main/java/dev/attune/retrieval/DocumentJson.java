package dev.attune.retrieval;

import dev.attune.web.StorableText;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** Documents as JSON: validation of what clients send, and the form that the index stores. */
final class DocumentJson {

  static final int MAX_ID_BYTES = 512;
  static final int MAX_FIELDS = 100;
  static final int MAX_FIELD_NAME_CHARS = 100;
  static final int MAX_VALUES = 10_000;

  private static final JsonMapper MAPPER = JsonMapper.builder().build();

  private DocumentJson() {}

  /**
   * Reads a document that a client sent. Unknown top-level names are an error, so that a misspelt one is noticed.
   *
   * @throws InvalidDocumentException when it breaks a rule; the message says which
   */
  static Document parse(JsonNode node) throws InvalidDocumentException {
    if (!node.isObject()) {
      throw new InvalidDocumentException(null, "a document must be a JSON object, this is " + kind(node));
    }
    JsonNode idNode = node.path("id");
    String id = idNode.isString() ? idNode.stringValue() : idNode.isIntegralNumber() ? idNode.asString() : null;
    if (id == null) {
      throw new InvalidDocumentException(
          null, idNode.isMissingNode() ? "id is missing" : "id must be a string, this is " + kind(idNode));
    }
    checkId(id);
    for (String name : node.propertyNames()) {
      switch (name) {
        case "id", "title", "text", "url", "image", "fields" -> {}
        default -> throw new InvalidDocumentException(
            id, "unknown name \"" + shorten(name) + "\"; put further values under \"fields\"");
      }
    }
    String title = string(node, "title", id);
    String text = string(node, "text", id);
    if ((title == null || title.isBlank()) && (text == null || text.isBlank())) {
      throw new InvalidDocumentException(id, "title or text must hold something");
    }
    return new Document(
        id,
        title == null ? "" : title,
        text == null ? "" : text,
        string(node, "url", id),
        string(node, "image", id),
        fields(node.path("fields"), id));
  }

  /** Checks an id: 1 to 512 bytes of UTF-8, no control characters, no lone surrogates. */
  static void checkId(String id) throws InvalidDocumentException {
    if (id.isBlank()) {
      throw new InvalidDocumentException(null, "id is empty");
    }
    if (!StorableText.storable(id)) {
      throw new InvalidDocumentException(null, "id is not valid Unicode or holds the character U+0000");
    }
    int bytes = id.getBytes(StandardCharsets.UTF_8).length;
    if (bytes > MAX_ID_BYTES) {
      throw new InvalidDocumentException(
          null, "id is " + bytes + " bytes long; at most " + MAX_ID_BYTES + " are allowed");
    }
    if (id.codePoints().anyMatch(Character::isISOControl)) {
      throw new InvalidDocumentException(null, "id holds a control character");
    }
  }

  /** The stored form: keys sorted, so that equal documents are equal bytes. */
  static byte[] write(Document document) {
    ObjectNode node = MAPPER.createObjectNode();
    node.put("id", document.id()).put("title", document.title()).put("text", document.text());
    if (document.url() != null) {
      node.put("url", document.url());
    }
    if (document.image() != null) {
      node.put("image", document.image());
    }
    ObjectNode fields = node.putObject("fields");
    new TreeMap<>(document.fields()).forEach((name, value) -> put(fields, name, value));
    return MAPPER.writeValueAsBytes(node);
  }

  /** Reads the stored form. */
  static Document read(byte[] source) {
    JsonNode node = MAPPER.readTree(source);
    Map<String, Object> fields = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> field : node.path("fields").properties()) {
      Object value = value(field.getValue());
      if (value != null) {
        fields.put(field.getKey(), value);
      }
    }
    return new Document(
        node.path("id").stringValue(),
        node.path("title").stringValue(),
        node.path("text").stringValue(),
        node.has("url") ? node.path("url").stringValue() : null,
        node.has("image") ? node.path("image").stringValue() : null,
        fields);
  }

  private static void put(ObjectNode fields, String name, Object value) {
    switch (value) {
      case String string -> fields.put(name, string);
      case Integer number -> fields.put(name, number);
      case Long number -> fields.put(name, number);
      case Number number -> fields.put(name, number.doubleValue());
      case List<?> strings -> {
        ArrayNode array = fields.putArray(name);
        for (Object string : strings) {
          if (!(string instanceof String element)) {
            throw unsupported(name);
          }
          array.add(element);
        }
      }
      default -> throw unsupported(name);
    }
  }

  private static IllegalArgumentException unsupported(String name) {
    return new IllegalArgumentException("Field " + name + " must be a string, a number or a list of strings");
  }

  private static Map<String, Object> fields(JsonNode node, String id) throws InvalidDocumentException {
    if (node.isMissingNode() || node.isNull()) {
      return Map.of();
    }
    if (!node.isObject()) {
      throw new InvalidDocumentException(id, "fields must be an object, this is " + kind(node));
    }
    if (node.size() > MAX_FIELDS) {
      throw new InvalidDocumentException(
          id, "fields holds " + node.size() + " names; at most " + MAX_FIELDS + " are allowed");
    }
    Map<String, Object> fields = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> field : node.properties()) {
      String name = field.getKey();
      if (name.isBlank()
          || name.length() > MAX_FIELD_NAME_CHARS
          || name.codePoints().anyMatch(Character::isISOControl)) {
        throw new InvalidDocumentException(
            id,
            "field name \"" + shorten(name) + "\" must have 1 to " + MAX_FIELD_NAME_CHARS
                + " characters and no control characters");
      }
      if (field.getValue().isNull()) {
        continue;
      }
      Object value = value(field.getValue());
      if (value == null) {
        throw new InvalidDocumentException(
            id,
            "fields." + name + " must be a string, a finite number or a list of at most " + MAX_VALUES + " strings");
      }
      fields.put(name, value);
    }
    return fields;
  }

  private static @Nullable Object value(JsonNode node) {
    if (node.isString()) {
      return StorableText.storable(node.stringValue()) ? node.stringValue() : null;
    }
    if (node.isIntegralNumber() && node.canConvertToLong()) {
      return node.longValue();
    }
    if (node.isNumber()) {
      double value = node.asDouble(Double.POSITIVE_INFINITY);
      return Double.isFinite(value) ? value : null;
    }
    if (node.isArray() && node.size() <= MAX_VALUES) {
      List<String> strings = new ArrayList<>(node.size());
      for (JsonNode element : node) {
        if (!element.isString() || !StorableText.storable(element.stringValue())) {
          return null;
        }
        strings.add(element.stringValue());
      }
      return List.copyOf(strings);
    }
    return null;
  }

  private static @Nullable String string(JsonNode node, String name, String id) throws InvalidDocumentException {
    JsonNode value = node.path(name);
    if (value.isMissingNode() || value.isNull()) {
      return null;
    }
    if (!value.isString()) {
      throw new InvalidDocumentException(id, name + " must be a string, this is " + kind(value));
    }
    if (!StorableText.storable(value.stringValue())) {
      throw new InvalidDocumentException(id, name + " is not valid Unicode or holds the character U+0000");
    }
    return value.stringValue();
  }

  private static String kind(JsonNode node) {
    return switch (node.getNodeType()) {
      case ARRAY -> "an array";
      case OBJECT -> "an object";
      case NUMBER -> "a number";
      case STRING -> "a string";
      case BOOLEAN -> "a boolean";
      case NULL -> "null";
      default -> "something else";
    };
  }

  private static String shorten(String text) {
    return text.length() <= 60 ? text : text.substring(0, 60) + "…";
  }
}
