package dev.attune.knowledge;

import java.time.Instant;

/**
 * A query or event that speaks for an entity.
 *
 * @param type of the entity when it was read; not stored
 * @param source {@code query}, {@code click}, {@code page}, or another action
 * @param contextId the query that an event followed, else the item's own id: evidence of one context was met together
 */
record Evidence(
    String userId,
    String entityId,
    String type,
    Kind kind,
    String eventId,
    String source,
    String contextId,
    double weight,
    Instant at) {

  enum Kind {
    QUERY("query"),
    EVENT("event");

    final String column;

    Kind(String column) {
      this.column = column;
    }
  }
}
