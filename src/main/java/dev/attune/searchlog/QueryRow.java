package dev.attune.searchlog;

import jakarta.persistence.Column;
import jakarta.persistence.Entity;
import jakarta.persistence.Id;
import jakarta.persistence.Table;
import java.time.Instant;
import java.util.List;
import org.hibernate.annotations.Immutable;
import org.jspecify.annotations.Nullable;

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
}
