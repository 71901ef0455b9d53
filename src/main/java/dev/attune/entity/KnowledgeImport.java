package dev.attune.entity;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.springframework.stereotype.Component;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Reads knowledge bases in NDJSON: one entity a line, {@code {"id","label","aliases","type","description","prior",
 * "neighbours":[{"id","relation"}]}}, of which {@code id} and {@code label} are needed.
 */
@Component
public class KnowledgeImport {

  /** Source name of the bundled knowledge base. */
  public static final String BUNDLED_SOURCE = "wikidata";

  static final String BUNDLED = "/kb/wikidata-fb15k.ndjson.gz";
  private static final int BATCH = 10_000;
  private static final int MAX_ERRORS = 100;
  private static final int MAX_TEXT = 1_000;
  private static final int MAX_LIST = 1_000;

  private final KnowledgeBase knowledge;
  private final JsonMapper json;

  KnowledgeImport(KnowledgeBase knowledge, JsonMapper json) {
    this.knowledge = knowledge;
    this.json = json;
  }

  /**
   * What became of an import.
   *
   * @param errors the first 100 rejected lines
   */
  public record Report(long received, long written, long rejected, List<Rejection> errors) {
    public Report {
      errors = List.copyOf(errors);
    }
  }

  /** A rejected line; the index is zero-based and counts lines that are not blank. */
  public record Rejection(long index, String reason) {}

  /** Imports the knowledge base of 14,514 Wikidata entities that comes with the service. */
  public Report importBundled() {
    try (InputStream plain = BundledFile.open(BUNDLED)) {
      return importNdjson(BUNDLED_SOURCE, plain);
    } catch (IOException e) {
      throw BundledFile.unreadable(BUNDLED, e);
    }
  }

  /** Imports NDJSON of any length; a bad line is rejected and the others are written. */
  public Report importNdjson(String source, InputStream input) throws IOException {
    BufferedReader reader = new BufferedReader(new InputStreamReader(input, StandardCharsets.UTF_8));
    List<Entity> batch = new ArrayList<>();
    List<Rejection> errors = new ArrayList<>();
    long received = 0;
    long written = 0;
    long rejected = 0;
    for (String line = reader.readLine(); line != null; line = reader.readLine()) {
      if (line.isBlank()) {
        continue;
      }
      try {
        batch.add(entity(json.readTree(line)));
      } catch (JacksonException e) {
        rejected++;
        reject(errors, received, "not valid JSON");
      } catch (IllegalArgumentException e) {
        rejected++;
        reject(errors, received, Objects.requireNonNullElse(e.getMessage(), "invalid"));
      }
      received++;
      if (batch.size() >= BATCH) {
        written += knowledge.importAll(source, batch.stream());
        batch.clear();
      }
    }
    written += knowledge.importAll(source, batch.stream());
    return new Report(received, written, rejected, errors);
  }

  private static void reject(List<Rejection> errors, long index, String reason) {
    if (errors.size() < MAX_ERRORS) {
      errors.add(new Rejection(index, reason));
    }
  }

  static Entity entity(JsonNode node) {
    if (!node.isObject()) {
      throw new IllegalArgumentException("must be an object");
    }
    String id = text(node, "id", 200);
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
      aliases.add(clean(alias.asString()));
    }
    List<Entity.Neighbour> neighbours = new ArrayList<>();
    for (JsonNode neighbour : list(node, "neighbours")) {
      String neighbourId = neighbour.isObject() ? text(neighbour, "id", 200) : "";
      if (neighbourId.isEmpty()) {
        throw new IllegalArgumentException("neighbours must be objects with an id");
      }
      String relation = text(neighbour, "relation", 100);
      neighbours.add(new Entity.Neighbour(neighbourId, relation.isEmpty() ? "related" : relation));
    }
    return new Entity(id, label, aliases, type.isEmpty() ? "thing" : type, description.isEmpty() ? null : description,
        prior.isNumber() ? prior.asDouble() : 0.1, neighbours);
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

  /** Trims, and drops the one character that PostgreSQL cannot hold. */
  private static String clean(String text) {
    return text.replace("\0", "").strip();
  }

  private static JsonNode list(JsonNode node, String field) {
    JsonNode value = node.path(field);
    if (!value.isMissingNode() && !value.isNull() && (!value.isArray() || value.size() > MAX_LIST)) {
      throw new IllegalArgumentException(field + " must be a list of at most " + MAX_LIST + " elements");
    }
    return value;
  }
}
