package dev.attune.admin;

import dev.attune.knowledge.UserErased;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.springframework.context.event.EventListener;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;

/** The audit log: an entry is written before its action runs and completed with the outcome. */
@Component
class AuditTrail {

  private final JdbcClient jdbc;

  AuditTrail(JdbcClient jdbc) {
    this.jdbc = jdbc;
  }

  /**
   * One audited request.
   *
   * @param action method and path pattern, for example {@code DELETE /api/v1/users/{userId}}
   * @param subject the user, entity or job concerned; of a merge both users
   * @param reason as given by the actor in the header {@code X-Audit-Reason}
   * @param status of the answer; null when the service ended before it answered
   */
  record Entry(
      long id,
      Instant at,
      String actor,
      String action,
      @Nullable String subject,
      @Nullable String reason,
      @Nullable Integer status) {}

  /** Returns the id of the new entry. */
  long begin(String actor, String action, @Nullable String subject, @Nullable String reason) {
    return jdbc.sql(
            "insert into audit_entry (at, actor, action, subject, reason) values (?, ?, ?, ?, ?) returning id")
        .params(OffsetDateTime.now(ZoneOffset.UTC), actor, action, subject, reason)
        .query(Long.class)
        .single();
  }

  /** Says whom an entry concerns where only the body of the request tells. */
  void concerns(long id, String subject) {
    jdbc.sql("update audit_entry set subject = ? where id = ?").params(subject, id).update();
  }

  void complete(long id, int status) {
    jdbc.sql("update audit_entry set status = ? where id = ?").params(status, id).update();
  }

  /** Newest first. */
  List<Entry> page(int page, int size) {
    return jdbc.sql(
            "select id, at, actor, action, subject, reason, status from audit_entry order by id desc limit ? offset ?")
        .params(size, (long) page * size)
        .query(
            (row, number) ->
                new Entry(
                    row.getLong("id"),
                    row.getObject("at", OffsetDateTime.class).toInstant(),
                    row.getString("actor"),
                    row.getString("action"),
                    row.getString("subject"),
                    row.getString("reason"),
                    row.getObject("status", Integer.class)))
        .list();
  }

  long count() {
    return jdbc.sql("select count(*) from audit_entry").query(Long.class).single();
  }

  /** That somebody was erased stays on record, who it was does not. */
  @EventListener
  void erased(UserErased event) {
    jdbc.sql("update audit_entry set subject = '(erased)' where subject = ?").param(event.userId()).update();
    // A merge names two users.
    jdbc.sql(
            """
            update audit_entry set subject = '(erased)'
            where action like '%/merge/%'
              and (starts_with(subject, :user || ' ') or right(subject, length(:user) + 1) = ' ' || :user)
            """)
        .param("user", event.userId())
        .update();
    jdbc.sql("update audit_entry set actor = '(erased)' where actor = ?").param(event.userId()).update();
  }
}
