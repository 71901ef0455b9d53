package dev.attune.searchlog;

import jakarta.persistence.Column;
import jakarta.persistence.Entity;
import jakarta.persistence.Id;
import jakarta.persistence.Table;
import java.time.Instant;
import java.util.List;
import org.hibernate.annotations.Immutable;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** A row of {@code logged_query}. Read only: {@link LogWriter} stores whole batches in SQL. */
@Entity
@Immutable
@Table(name = "logged_query")
class QueryRow {

  @Id String queryId = "";
  @Nullable String userId;
  @Nullable String givenUserId;
  @Nullable String clientId;
  @Nullable String sessionId;
  boolean sessionGiven;
  String text = "";
  String textKey = "";
  Instant askedAt = Instant.EPOCH;

  @Column(columnDefinition = "text[]")
  String[] resultIds = {};

  @Nullable String application;
  boolean simulated;
  String precedence = "";

  protected QueryRow() {}

  LoggedQuery toQuery() {
    return new LoggedQuery(queryId, userId, sessionId, text, askedAt, List.of(resultIds), simulated);
  }

  /** As a UBI query. */
  ObjectNode toUbi(ObjectNode node) {
    UbiFields.put(node, "application", application);
    node.put("query_id", queryId);
    UbiFields.put(node, "user_id", userId);
    UbiFields.put(node, "client_id", clientId);
    UbiFields.put(node, "session_id", sessionGiven ? sessionId : null);
    node.put("user_query", text);
    node.put("timestamp", askedAt.toString());
    ArrayNode results = node.putArray("query_response_hit_ids");
    List.of(resultIds).forEach(results::add);
    if (simulated) {
      node.putObject("query_attributes").put("simulated", true);
    }
    return node;
  }
}
