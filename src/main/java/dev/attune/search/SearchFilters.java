package dev.attune.search;

import dev.attune.retrieval.DocumentIndex.Filter;
import dev.attune.web.Problems;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** Reads the {@code filters} of a search: {@code {field: value | [values] | {"gte": number, "lte": number}}}. */
final class SearchFilters {

  private static final int MAX_FIELDS = 50;
  private static final int MAX_VALUES = 1_000;

  private SearchFilters() {}

  static Map<String, Filter> parse(Map<String, JsonNode> json) {
    if (json.size() > MAX_FIELDS) {
      throw Problems.badField("filters", "has " + json.size() + " fields; at most " + MAX_FIELDS + " are allowed");
    }
    Map<String, Filter> filters = new LinkedHashMap<>();
    json.forEach((name, node) -> filters.put(name, filter("filters." + name, node)));
    return filters;
  }

  private static Filter filter(String field, @Nullable JsonNode node) {
    if (node == null || node.isNull()) {
      throw Problems.badField(field, "is null; leave it out to filter nothing");
    }
    if (node.isObject()) {
      return range(field, node);
    }
    if (!node.isArray()) {
      return new Filter.AnyOf(List.of(value(field, node)));
    }
    if (node.isEmpty() || node.size() > MAX_VALUES) {
      throw Problems.badField(field, "must hold 1 to " + MAX_VALUES + " values");
    }
    List<String> values = new ArrayList<>();
    for (int i = 0; i < node.size(); i++) {
      values.add(value(field + "[" + i + "]", node.get(i)));
    }
    return new Filter.AnyOf(List.copyOf(values));
  }

  private static Filter range(String field, JsonNode node) {
    for (String name : node.propertyNames()) {
      if (!name.equals("gte") && !name.equals("lte")) {
        throw Problems.badField(field + "." + name, "is not known; a range has gte, lte or both");
      }
    }
    Double gte = bound(field + ".gte", node.get("gte"));
    Double lte = bound(field + ".lte", node.get("lte"));
    if (gte == null && lte == null) {
      throw Problems.badField(field, "needs gte, lte or both");
    }
    if (gte != null && lte != null && gte > lte) {
      throw Problems.badField(field, "has a gte above its lte");
    }
    return new Filter.Range(gte, lte);
  }

  private static @Nullable Double bound(String field, @Nullable JsonNode node) {
    if (node == null || node.isNull()) {
      return null;
    }
    if (!node.isNumber() || !Double.isFinite(node.asDouble())) {
      throw Problems.badField(field, "must be a number");
    }
    return node.asDouble();
  }

  private static String value(String field, JsonNode node) {
    if (node.isString() || node.isNumber() || node.isBoolean()) {
      return node.asString();
    }
    throw Problems.badField(field, "must be a text or a number");
  }
}
