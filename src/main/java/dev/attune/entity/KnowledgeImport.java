package dev.attune.entity;

import dev.attune.web.JsonItem;
import dev.attune.web.JsonItemReader;
import dev.attune.web.StorableText;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;
import tools.jackson.databind.JsonNode;

/**
 * Reads knowledge bases in NDJSON: one entity a line, {@code {"id","label","aliases","type","description","prior",
 * "neighbours":[{"id","relation"}]}}, of which {@code id} and {@code label} are needed. An entity replaces the one with
 * its id as a whole, whatever its source; all others stay.
 */
@Component
public class KnowledgeImport {

  /** Source name of the bundled knowledge base. */
  public static final String BUNDLED_SOURCE = "wikidata";

  static final String BUNDLED = "/kb/wikidata-fb15k.ndjson.gz";
  private static final int BATCH = 10_000;
  /** Entities, names and relations held at a time. */
  private static final int MAX_PENDING = 500_000;
  /** A request of millions of bad lines must not be held in memory: beyond this, errors are only counted. */
  private static final int MAX_ERRORS = 1_000;
  static final int MAX_ID = 200;
  private static final int MAX_TEXT = 1_000;
  private static final int MAX_LIST = 1_000;

  private final KnowledgeBase knowledge;
  private final JsonItemReader reader;
  private final Set<String> documentTypes;

  KnowledgeImport(KnowledgeBase knowledge, JsonItemReader reader, EntityProperties properties) {
    this.knowledge = knowledge;
    this.reader = reader;
    this.documentTypes = Set.copyOf(properties.documentFields().values());
  }

  /**
   * What became of an import.
   *
   * @param written lines whose entity is in the knowledge base; of several with one id the last counts
   * @param errors the first 1,000 rejected lines; {@code rejected} counts all
   */
  public record Report(long received, long written, long rejected, List<Rejection> errors) {
    public Report {
      errors = List.copyOf(errors);
    }
  }

  /**
   * A rejected line.
   *
   * @param index zero-based, counting lines that are not blank
   * @param id if it could be read
   */
  public record Rejection(long index, @Nullable String id, String reason) {}

  /** Imports the knowledge base of 14,514 Wikidata entities that comes with the service. */
  public Report importBundled() {
    try (InputStream plain = BundledFile.open(BUNDLED)) {
      return importNdjson(BUNDLED_SOURCE, plain);
    } catch (IOException e) {
      throw BundledFile.unreadable(BUNDLED, e);
    }
  }

  /**
   * Imports NDJSON, or a JSON array, of any length; a bad line is rejected and the others are written. Group by group:
   * when the input breaks off, what came before is written, and the same again leads to the same.
   */
  public Report importNdjson(String source, InputStream input) {
    Groups groups = new Groups(source);
    try (Stream<JsonItem> items = reader.read(input)) {
      items.forEach(groups::accept);
    }
    groups.flush();
    return groups.report();
  }

  /** Writes entities in groups, so that memory is bounded whatever the length of the input. */
  private final class Groups {
    private final String source;
    private final Map<String, Entity> pending = new LinkedHashMap<>();
    private final List<Rejection> errors = new ArrayList<>();
    private long received;
    private long rejected;
    private long pendingElements;

    Groups(String source) {
      this.source = source;
    }

    void accept(JsonItem item) {
      received++;
      switch (item) {
        case JsonItem.Malformed(long index, String reason) -> reject(new Rejection(index, null, reason));
        case JsonItem.Value(long index, JsonNode node) -> {
          try {
            Entity entity = entity(node);
            checkOwn(entity.id());
            pending.put(entity.id(), entity);
            pendingElements += 1 + entity.aliases().size() + entity.neighbours().size();
          } catch (IllegalArgumentException e) {
            String id = node.path("id").isString() ? node.path("id").asString() : null;
            reject(new Rejection(index, id, Objects.requireNonNullElse(e.getMessage(), "invalid")));
          }
        }
      }
      if (pending.size() >= BATCH || pendingElements >= MAX_PENDING) {
        flush();
      }
    }

    void flush() {
      knowledge.importAll(source, pending.values().stream());
      pending.clear();
      pendingElements = 0;
    }

    Report report() {
      return new Report(received, received - rejected, rejected, errors);
    }

    private void reject(Rejection rejection) {
      rejected++;
      if (errors.size() < MAX_ERRORS) {
        errors.add(rejection);
      }
    }
  }

  /** What documents name has ids of this form; the next change of a document would replace an entity with one. */
  private void checkOwn(String id) {
    int colon = id.indexOf(':');
    if (colon > 0 && documentTypes.contains(id.substring(0, colon))) {
      throw new IllegalArgumentException(
          "id must not begin with " + id.substring(0, colon + 1) + " which is kept for what documents name");
    }
  }

  static Entity entity(JsonNode node) {
    if (!node.isObject()) {
      throw new IllegalArgumentException("must be an object");
    }
    String id = text(node, "id", MAX_ID);
    if (id.isEmpty()) {
      throw new IllegalArgumentException("id is missing");
    }
    String label = text(node, "label", MAX_TEXT);
    if (label.isEmpty()) {
      throw new IllegalArgumentException("label is missing");
    }
    String type = text(node, "type", 60);
    String description = text(node, "description", MAX_TEXT);
    JsonNode prior = node.path("prior");
    if (!prior.isMissingNode() && !prior.isNull()
        && !(prior.isNumber() && prior.asDouble() >= 0 && prior.asDouble() <= 1)) {
      throw new IllegalArgumentException("prior must be a number from 0 to 1");
    }
    List<String> aliases = new ArrayList<>();
    for (JsonNode alias : list(node, "aliases")) {
      if (!alias.isString() || alias.asString().length() > MAX_TEXT) {
        throw new IllegalArgumentException("aliases must be texts of at most " + MAX_TEXT + " characters");
      }
      String name = clean(alias.asString());
      if (!name.isEmpty()) {
        aliases.add(name);
      }
    }
    Map<String, Entity.Neighbour> neighbours = new LinkedHashMap<>();
    for (JsonNode neighbour : list(node, "neighbours")) {
      String neighbourId = neighbour.isObject() ? text(neighbour, "id", MAX_ID) : "";
      if (neighbourId.isEmpty()) {
        throw new IllegalArgumentException("neighbours must be objects with an id");
      }
      String relation = text(neighbour, "relation", 100);
      // One relation to each, the first: it is the strongest.
      neighbours.putIfAbsent(
          neighbourId, new Entity.Neighbour(neighbourId, relation.isEmpty() ? "related" : relation));
    }
    return new Entity(id, label, aliases, type.isEmpty() ? "thing" : type, description.isEmpty() ? null : description,
        prior.isNumber() ? prior.asDouble() : 0.1, List.copyOf(neighbours.values()));
  }

  private static String text(JsonNode node, String field, int maxLength) {
    JsonNode value = node.path(field);
    if (value.isMissingNode() || value.isNull()) {
      return "";
    }
    if (!value.isString()) {
      throw new IllegalArgumentException(field + " must be a text");
    }
    String text = clean(value.asString());
    if (text.length() > maxLength) {
      throw new IllegalArgumentException(field + " has more than " + maxLength + " characters");
    }
    return text;
  }

  /**
   * Trims, and takes a name with what can be stored of it: zero characters go, unpaired surrogates become question
   * marks. Other control characters stay; names are compared without them.
   */
  private static String clean(String text) {
    if (StorableText.storable(text)) {
      return text.strip();
    }
    StringBuilder clean = new StringBuilder(text.length());
    for (int i = 0; i < text.length(); i++) {
      if (text.charAt(i) != '\0') {
        clean.append(StorableText.storable(text, i) ? text.charAt(i) : '?');
      }
    }
    return clean.toString().strip();
  }

  private static JsonNode list(JsonNode node, String field) {
    JsonNode value = node.path(field);
    if (!value.isMissingNode() && !value.isNull() && (!value.isArray() || value.size() > MAX_LIST)) {
      throw new IllegalArgumentException(field + " must be a list of at most " + MAX_LIST + " elements");
    }
    return value;
  }
}
