package dev.attune.searchlog;

import dev.attune.searchlog.ActivityRecorded.Kind;
import dev.attune.searchlog.ActivityRecorded.Withdrawal;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.springframework.context.ApplicationEventPublisher;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;

/** Makes two user ids one person. Runs in a transaction that holds the log. */
@Component
class UserMerge {

  private static final int CHUNK = 500;

  private final JdbcClient jdbc;
  private final LogTables tables;
  private final SessionDeriver sessions;
  private final ApplicationEventPublisher publisher;

  UserMerge(JdbcClient jdbc, LogTables tables, SessionDeriver sessions, ApplicationEventPublisher publisher) {
    this.jdbc = jdbc;
    this.tables = tables;
    this.sessions = sessions;
    this.publisher = publisher;
  }

  long merge(String from, String into) {
    String target = mergedInto(into).orElse(into);
    Optional<String> before = mergedInto(from);
    if (before.isPresent()) {
      if (before.get().equals(target)) {
        return 0;
      }
      throw new AlreadyMergedException("The first user was merged into another one before.");
    }
    if (from.equals(target)) {
      throw new AlreadyMergedException("The second user was merged into the first one before.");
    }
    jdbc.sql("insert into merged_user (from_user, into_user) values (?, ?)").params(from, target).update();
    jdbc.sql("update merged_user set into_user = ? where into_user = ?").params(target, from).update();
    List<Item> moved =
        jdbc.sql("select kind, id, at from log_step where user_id = ? order by at, kind, id")
            .param(from)
            .query(
                (row, n) ->
                    new Item("query".equals(row.getString(1)), row.getString(2), LogTables.instant(row, 3)))
            .list();
    for (String table : List.of("logged_query", "logged_event")) {
      jdbc.sql(
              "update " + table + " set user_id = ?, session_id = case when session_given then session_id else '~' end"
                  + " where user_id = ?")
          .params(target, from)
          .update();
    }
    if (!moved.isEmpty()) {
      Map<String, SessionDeriver.Range> touched = new HashMap<>();
      touched.put(target, new SessionDeriver.Range(moved.getFirst().at(), moved.getLast().at()));
      sessions.derive(touched);
    }
    for (int start = 0; start < moved.size(); start += CHUNK) {
      publish(from, moved.subList(start, Math.min(moved.size(), start + CHUNK)));
    }
    publisher.publishEvent(new UsersMerged(from, target));
    return moved.size();
  }

  private void publish(String from, List<Item> items) {
    publisher.publishEvent(
        new ActivityRecorded(
            tables.queries(items.stream().filter(Item::query).map(Item::id).toList()),
            tables.events(items.stream().filter(i -> !i.query()).map(Item::id).toList()),
            items.stream().map(i -> new Withdrawal(i.query() ? Kind.QUERY : Kind.EVENT, i.id(), from)).toList()));
  }

  Optional<String> mergedInto(String user) {
    return jdbc
        .sql("select into_user from merged_user where from_user = ?")
        .param(user)
        .query(String.class)
        .optional();
  }

  private record Item(boolean query, String id, Instant at) {}
}
