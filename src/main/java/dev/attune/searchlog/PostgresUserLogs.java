package dev.attune.searchlog;

import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.springframework.data.domain.KeysetScrollPosition;
import org.springframework.data.domain.ScrollPosition;
import org.springframework.data.support.WindowIterator;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Service;
import org.springframework.transaction.annotation.Transactional;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** The log by user, in PostgreSQL. Counts over both tables, and changes of many rows, are SQL rather than JPA. */
@Service
class PostgresUserLogs implements UserLogs {

  private static final String USERS =
      """
      select user_id, count(*) filter (where kind = 'query') as queries,
        count(*) filter (where kind = 'event') as events,
        min(at) as first_seen, max(at) as last_seen, bool_or(simulated) as simulated
      from log_step
      """;

  private static final String MATCHING =
      "where user_id is not null and (:contains = '' or strpos(lower(user_id), lower(:contains)) > 0) ";

  private static final KeysetScrollPosition START = ScrollPosition.keyset();

  private final QueryRepository queries;
  private final EventRepository events;
  private final LogWriter writer;
  private final UserMerge merge;
  private final JdbcClient jdbc;
  private final JsonMapper json;

  PostgresUserLogs(
      QueryRepository queries,
      EventRepository events,
      LogWriter writer,
      UserMerge merge,
      JdbcClient jdbc,
      JsonMapper json) {
    this.queries = queries;
    this.events = events;
    this.writer = writer;
    this.merge = merge;
    this.jdbc = jdbc;
    this.json = json;
  }

  @Override
  public void replay(String userId, Consumer<LoggedQuery> queryConsumer, Consumer<LoggedEvent> eventConsumer) {
    rows(userId, row -> queryConsumer.accept(row.toQuery()), row -> eventConsumer.accept(row.toEvent()));
  }

  @Override
  public void export(String userId, Consumer<ObjectNode> items) {
    rows(
        userId,
        row -> items.accept(row.toUbi(json.createObjectNode())),
        row -> items.accept(row.toUbi(json.createObjectNode())));
  }

  private void rows(String userId, Consumer<QueryRow> queryRows, Consumer<EventRow> eventRows) {
    WindowIterator.of(p -> queries.findFirst500ByUserIdOrderByAskedAtAscQueryIdAsc(userId, p))
        .startingAt(START)
        .forEachRemaining(queryRows);
    WindowIterator.of(p -> events.findFirst500ByUserIdOrderByOccurredAtAscEventIdAsc(userId, p))
        .startingAt(START)
        .forEachRemaining(eventRows);
  }

  @Override
  public Erased erase(String userId) {
    return writer.exclusively(
        () -> {
          List<String> merged =
              jdbc.sql("select from_user from merged_user where into_user = ? order by from_user")
                  .param(userId)
                  .query(String.class)
                  .list();
          List<String> ids = Stream.concat(Stream.of(userId), merged.stream()).toList();
          long erasedQueries = update("delete from logged_query where user_id in (:ids)", ids);
          long erasedEvents = update("delete from logged_event where user_id in (:ids)", ids);
          // Items of other users that came from the same browser, or under an id merged into another.
          for (String table : List.of("logged_query", "logged_event")) {
            update("update " + table + " set client_id = null where client_id in (:ids)", ids);
            update("update " + table + " set given_user_id = user_id where given_user_id in (:ids)", ids);
          }
          update("delete from merged_user where from_user in (:ids) or into_user in (:ids)", ids);
          return new Erased(erasedQueries, erasedEvents, merged);
        });
  }

  private long update(String sql, List<String> userIds) {
    return jdbc.sql(sql).param("ids", userIds).update();
  }

  @Override
  public long remaining(String userId) {
    return jdbc
        .sql(
            """
            select (select count(*) from logged_query where :user in (user_id, given_user_id, client_id))
              + (select count(*) from logged_event where :user in (user_id, given_user_id, client_id))
              + (select count(*) from merged_user where :user in (from_user, into_user))
            """)
        .param("user", userId)
        .query(Long.class)
        .single();
  }

  @Override
  public long merge(String fromUserId, String intoUserId) {
    return writer.exclusively(() -> merge.merge(fromUserId, intoUserId));
  }

  @Override
  public Optional<String> mergedInto(String userId) {
    return merge.mergedInto(userId);
  }

  @Override
  @Transactional(readOnly = true)
  public UserPage users(UserSort sort, UserFilter filter) {
    return users(jdbc.sql(USERS + MATCHING + "group by user_id" + page(sort.column, filter)), filter);
  }

  @Override
  @Transactional(readOnly = true)
  public UserPage users(Map<String, Integer> numbers, UserFilter filter) {
    String[] ids = numbers.keySet().toArray(String[]::new);
    return users(
        jdbc.sql(
                "select users.* from (" + USERS + MATCHING + "group by user_id) users"
                    + " left join unnest(:ids, :numbers) as given (id, number) on given.id = user_id"
                    + page("coalesce(number, 0)", filter))
            .param("ids", ids)
            .param("numbers", Arrays.stream(ids).map(numbers::get).toArray(Integer[]::new)),
        filter);
  }

  private static String page(String column, UserFilter filter) {
    return " order by " + column + (filter.descending() ? " desc" : "") + ", user_id limit :size offset :from";
  }

  private UserPage users(JdbcClient.StatementSpec page, UserFilter filter) {
    String contains = filter.contains() == null ? "" : filter.contains();
    List<UserActivity> users =
        page.param("contains", contains)
            .param("size", filter.size())
            .param("from", (long) filter.page() * filter.size())
            .query((row, n) -> activity(row))
            .list();
    long total =
        jdbc.sql("select count(distinct user_id) from log_step " + MATCHING)
            .param("contains", contains)
            .query(Long.class)
            .single();
    return new UserPage(users, total);
  }

  @Override
  public Optional<UserActivity> user(String userId) {
    return jdbc
        .sql(USERS + "where user_id = ? group by user_id")
        .param(userId)
        .query((row, n) -> activity(row))
        .optional();
  }

  private static UserActivity activity(ResultSet row) throws SQLException {
    return new UserActivity(
        row.getString("user_id"),
        row.getLong("queries"),
        row.getLong("events"),
        LogTables.instant(row, 4),
        LogTables.instant(row, 5),
        row.getBoolean("simulated"));
  }
}
