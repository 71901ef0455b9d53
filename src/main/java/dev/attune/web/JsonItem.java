package dev.attune.web;

import tools.jackson.databind.JsonNode;

/** One item of a bulk body. */
public sealed interface JsonItem {

  /** Zero-based position over all items of the body, malformed ones included, blank lines not. */
  long index();

  /** An item that could be parsed. */
  record Value(long index, JsonNode node) implements JsonItem {}

  /**
   * An item that is not JSON, or longer than allowed.
   *
   * @param reason a sentence for the client
   */
  record Malformed(long index, String reason) implements JsonItem {}
}
