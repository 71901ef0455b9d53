package dev.attune.searchlog;

import jakarta.persistence.Entity;
import jakarta.persistence.Id;
import jakarta.persistence.Table;
import java.time.Instant;
import org.hibernate.annotations.Immutable;
import org.jspecify.annotations.Nullable;

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
}
