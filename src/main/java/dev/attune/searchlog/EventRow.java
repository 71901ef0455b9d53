package dev.attune.searchlog;

import jakarta.persistence.Entity;
import jakarta.persistence.Id;
import jakarta.persistence.Table;
import java.time.Instant;
import org.hibernate.annotations.Immutable;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ObjectNode;

/** A row of {@code logged_event}. Read only: {@link LogWriter} stores whole batches in SQL. */
@Entity
@Immutable
@Table(name = "logged_event")
class EventRow {

  @Id String eventId = "";
  String action = "";
  boolean visit;
  @Nullable String userId;
  @Nullable String givenUserId;
  @Nullable String clientId;
  @Nullable String sessionId;
  @Nullable String givenSessionId;
  boolean sessionGiven;
  @Nullable String queryId;
  Instant occurredAt = Instant.EPOCH;
  @Nullable String objectId;
  @Nullable String objectTitle;
  @Nullable String objectText;
  @Nullable String objectUrl;
  @Nullable Integer position;
  @Nullable String application;
  boolean simulated;
  String precedence = "";

  protected EventRow() {}

  LoggedEvent toEvent() {
    return new LoggedEvent(
        eventId, action, visit, userId, sessionId, queryId, occurredAt, object(), position, simulated);
  }

  private LoggedEvent.@Nullable PageObject object() {
    boolean none = objectId == null && objectTitle == null && objectText == null && objectUrl == null;
    return none ? null : new LoggedEvent.PageObject(objectId, objectTitle, objectText, objectUrl);
  }

  /** As a UBI event. */
  ObjectNode toUbi(ObjectNode node) {
    UbiFields.put(node, "application", application);
    node.put("event_id", eventId);
    node.put("action_name", action);
    UbiFields.put(node, "query_id", queryId);
    UbiFields.put(node, "user_id", userId);
    UbiFields.put(node, "client_id", clientId);
    UbiFields.put(node, "session_id", givenSessionId);
    node.put("timestamp", occurredAt.toString());
    ObjectNode attributes = node.putObject("event_attributes");
    if (object() != null) {
      ObjectNode page = attributes.putObject("object");
      UbiFields.put(page, "object_id", objectId);
      UbiFields.put(page, "title", objectTitle);
      UbiFields.put(page, "text", objectText);
      UbiFields.put(page, "url", objectUrl);
    }
    if (position != null) {
      attributes.putObject("position").put("ordinal", position);
    }
    if (simulated) {
      attributes.put("simulated", true);
    }
    return node;
  }
}
