package dev.attune.searchlog;

import java.time.DateTimeException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * Reads items of User Behavior Insights 1.3 as real logs write them. An item with {@code action_name} is an event (it
 * may repeat {@code user_query}), otherwise one with {@code user_query} is a query. Any JSON gives an answer, never an
 * exception.
 */
final class UbiParser {

  static final int MAX_ACTION = 100;
  static final int MAX_QUERY = 2_000;
  static final int MAX_TITLE = 1_000;
  static final int MAX_URL = 2_000;
  static final int MAX_RESULTS = 1_000;

  private static final Set<String> BULK_ACTIONS = Set.of("index", "create", "update", "delete");

  private final SearchLogProperties properties;

  UbiParser(SearchLogProperties properties) {
    this.properties = properties;
  }

  /** Reads one item that was received at the given time, which stands in for a missing timestamp. */
  UbiItem parse(JsonNode node, Instant received) {
    if (!node.isObject()) {
      return new UbiItem.Invalid("not a JSON object");
    }
    if (isBulkAction(node)) {
      return new UbiItem.Skipped();
    }
    try {
      if (node.hasNonNull("action_name")) {
        return event(node, received);
      }
      if (node.hasNonNull("user_query")) {
        return query(node, received);
      }
      return new UbiItem.Invalid("user_query or action_name: missing; a query has the first, an event the second");
    } catch (InvalidFieldException | DateTimeException e) {
      return new UbiItem.Invalid(String.valueOf(e.getMessage()));
    }
  }

  private static boolean isBulkAction(JsonNode node) {
    if (node.size() != 1) {
      return false;
    }
    var only = node.properties().iterator().next();
    return BULK_ACTIONS.contains(only.getKey()) && only.getValue().isObject();
  }

  private static UbiItem.Query query(JsonNode node, Instant received) {
    JsonNode attributes = object(node, "query_attributes", "");
    String hash = CanonicalHash.of(node);
    String id = id(node, "query_id", "");
    return new UbiItem.Query(
        id == null ? hash : id,
        firstPresent(id(node, "user_id", ""), id(attributes, "user_id", "query_attributes.")),
        id(node, "client_id", ""),
        firstPresent(id(node, "session_id", ""), id(attributes, "session_id", "query_attributes.")),
        requiredText(node, "user_query", MAX_QUERY),
        timestamp(node, received),
        resultIds(node),
        text(node, "application", "", MAX_ACTION),
        attributes != null && attributes.path("simulated").asBoolean(false),
        hash);
  }

  private UbiItem.Event event(JsonNode node, Instant received) {
    JsonNode attributes = object(node, "event_attributes", "");
    String action = requiredText(node, "action_name", MAX_ACTION);
    if (action.isEmpty()) {
      throw new InvalidFieldException("action_name: must not be empty");
    }
    if (properties.actions() == SearchLogProperties.Actions.STRICT && !UbiAction.isKnown(action)) {
      throw new InvalidFieldException("action_name: unknown, and attune.searchlog.actions is strict");
    }
    String hash = CanonicalHash.of(node);
    String id = id(node, "event_id", "");
    LoggedEvent.PageObject page = page(attributes);
    return new UbiItem.Event(
        id == null ? hash : id,
        action,
        page != null && UbiAction.isVisit(action),
        firstPresent(id(node, "user_id", ""), id(attributes, "user_id", "event_attributes.")),
        id(node, "client_id", ""),
        firstPresent(id(node, "session_id", ""), id(attributes, "session_id", "event_attributes.")),
        id(node, "query_id", ""),
        timestamp(node, received),
        page,
        position(attributes),
        text(node, "application", "", MAX_ACTION),
        attributes != null && attributes.path("simulated").asBoolean(false),
        hash);
  }

  /** The page or product; some clients write {@code data} for {@code object}. */
  private LoggedEvent.@Nullable PageObject page(@Nullable JsonNode attributes) {
    String name = attributes != null && attributes.hasNonNull("object") ? "object" : "data";
    JsonNode object = object(attributes, name, "event_attributes.");
    if (object == null) {
      return null;
    }
    String path = "event_attributes." + name + ".";
    String id = objectId(object, path);
    String title =
        firstPresent(
            text(object, "title", path, MAX_TITLE),
            text(object, "name", path, MAX_TITLE),
            text(object, "description", path, MAX_TITLE));
    String text =
        firstPresent(
            text(object, "text", path, properties.maxTextLength()),
            text(object, "content", path, properties.maxTextLength()));
    String url = text(object, "url", path, MAX_URL);
    boolean says = id != null || title != null || text != null || url != null;
    return says ? new LoggedEvent.PageObject(id, title, text, url) : null;
  }

  private static @Nullable String objectId(JsonNode object, String path) {
    JsonNode value = object.get("object_id");
    return value != null && value.isIntegralNumber() ? bounded(value.toString(), path + "object_id")
        : id(object, "object_id", path);
  }

  private static @Nullable Integer position(@Nullable JsonNode attributes) {
    JsonNode position = object(attributes, "position", "event_attributes.");
    if (position == null) {
      return null;
    }
    String name = position.hasNonNull("ordinal") ? "ordinal" : "index";
    JsonNode value = position.get(name);
    if (value == null || value.isNull()) {
      return null;
    }
    if (!value.isIntegralNumber()) {
      throw new InvalidFieldException("event_attributes.position." + name + ": must be a whole number");
    }
    if (!value.canConvertToInt() || value.intValue() < 0) {
      throw new InvalidFieldException("event_attributes.position." + name + ": must be 0 or more");
    }
    return value.intValue();
  }

  private static List<String> resultIds(JsonNode node) {
    String name = node.hasNonNull("query_response_hit_ids") ? "query_response_hit_ids" : "query_response_object_ids";
    JsonNode array = node.get(name);
    if (array == null || array.isNull()) {
      return List.of();
    }
    if (!array.isArray()) {
      throw new InvalidFieldException(name + ": must be an array of texts");
    }
    List<String> ids = new ArrayList<>();
    for (JsonNode value : array) {
      if (!value.isString() && !value.isIntegralNumber()) {
        throw new InvalidFieldException(name + ": must hold texts only");
      }
      if (ids.size() < MAX_RESULTS) {
        ids.add(bounded(value.isString() ? value.stringValue() : value.toString(), name));
      }
    }
    return ids;
  }

  private static Instant timestamp(JsonNode node, Instant received) {
    JsonNode value = node.get("timestamp");
    return value == null || value.isNull()
        ? received.truncatedTo(ChronoUnit.MICROS)
        : UbiTimestamp.parse(value, received);
  }

  /** Returns a JSON object, or null when it is missing or null. */
  private static @Nullable JsonNode object(@Nullable JsonNode parent, String name, String path) {
    JsonNode value = parent == null ? null : parent.get(name);
    if (value == null || value.isNull()) {
      return null;
    }
    if (!value.isObject()) {
      throw new InvalidFieldException(path + name + ": must be an object");
    }
    return value;
  }

  /** Returns an id, or null when it is missing, null or blank (the schema allows an empty user id for nobody). */
  private static @Nullable String id(@Nullable JsonNode parent, String name, String path) {
    String value = string(parent, name, path);
    return value == null || value.isBlank() ? null : bounded(value, path + name);
  }

  private static String bounded(String id, String field) {
    String stripped = id.strip();
    if (stripped.length() > SearchLog.MAX_ID) {
      throw new InvalidFieldException(field + ": longer than " + SearchLog.MAX_ID + " characters");
    }
    if (!stripped.equals(LogText.clean(stripped))) {
      throw new InvalidFieldException(field + ": holds control characters or broken Unicode");
    }
    return stripped;
  }

  private static String requiredText(JsonNode parent, String name, int max) {
    String value = string(parent, name, "");
    return value == null ? "" : LogText.cut(LogText.clean(value).strip(), max);
  }

  /** Returns a text, cut to {@code max} characters, or null when missing, null or blank. */
  private static @Nullable String text(JsonNode parent, String name, String path, int max) {
    String value = string(parent, name, path);
    if (value == null) {
      return null;
    }
    String clean = LogText.cut(LogText.clean(value).strip(), max);
    return clean.isEmpty() ? null : clean;
  }

  private static @Nullable String string(@Nullable JsonNode parent, String name, String path) {
    JsonNode value = parent == null ? null : parent.get(name);
    if (value == null || value.isNull()) {
      return null;
    }
    if (!value.isString()) {
      throw new InvalidFieldException(path + name + ": must be a text");
    }
    return value.stringValue();
  }

  private static @Nullable String firstPresent(@Nullable String... values) {
    for (String value : values) {
      if (value != null) {
        return value;
      }
    }
    return null;
  }

  /** A field that cannot be taken; the message is the reason given to the client. */
  private static final class InvalidFieldException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    InvalidFieldException(String reason) {
      super(reason, null, false, false);
    }
  }
}
