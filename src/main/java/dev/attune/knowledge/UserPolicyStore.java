package dev.attune.knowledge;

import java.sql.Timestamp;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.stereotype.Repository;

/** Settings, pauses and forgotten entities in the database; and the row that stands for a user's store. */
@Repository
class UserPolicyStore {

  private final JdbcTemplate jdbc;

  UserPolicyStore(JdbcTemplate jdbc) {
    this.jdbc = jdbc;
  }

  /**
   * Creates what rows are missing, and locks all until the transaction ends. Writers of a store hold its lock, so that
   * two of them never compute from half of each other's evidence.
   */
  void lock(Collection<String> userIds) {
    String[] sorted = userIds.stream().sorted().toArray(String[]::new);
    jdbc.update("insert into user_store (user_id) select unnest(?::text[]) on conflict do nothing", (Object) sorted);
    jdbc.queryForList("select user_id from user_store where user_id = any (?::text[]) order by user_id for update",
        String.class, (Object) sorted);
  }

  /** Tells readers that the stores changed. */
  void touch(Collection<String> userIds) {
    jdbc.update("update user_store set version = nextval('user_store_version') where user_id = any (?::text[])",
        (Object) userIds.toArray(String[]::new));
  }

  /** What a reader needs before it reads: settings and version of the store. */
  record State(UserSettings settings, long version) {}

  Optional<State> state(String userId) {
    return jdbc.query("select version, personalization, learning, retention_days, sensitive from user_store "
            + "where user_id = ?",
        (row, number) -> new State(new UserSettings(row.getBoolean(2), row.getBoolean(3), (Integer) row.getObject(4),
            Set.of((String[]) row.getArray(5).getArray())), row.getLong(1)), userId).stream().findFirst();
  }

  void save(String userId, UserSettings settings) {
    jdbc.update("update user_store set personalization = ?, learning = ?, retention_days = ?, sensitive = ? "
            + "where user_id = ?",
        settings.personalization(), settings.learning(), settings.retentionDays(),
        settings.sensitive().stream().sorted().toArray(String[]::new), userId);
  }

  void pause(String userId, Instant now) {
    jdbc.update("insert into user_pause (user_id, paused_at) values (?, ?) on conflict do nothing",
        userId, Timestamp.from(now));
  }

  void resume(String userId, Instant now) {
    jdbc.update("update user_pause set resumed_at = ? where user_id = ? and resumed_at is null",
        Timestamp.from(now), userId);
  }

  void forget(String userId, String entityId, Instant now) {
    jdbc.update("insert into user_forgotten (user_id, entity_id, forgotten_at) values (?, ?, ?) "
            + "on conflict (user_id, entity_id) do update set lifted_at = null",
        userId, entityId, Timestamp.from(now));
  }

  /** Returns whether the entity was forgotten. */
  boolean allow(String userId, String entityId, Instant now) {
    return jdbc.update("update user_forgotten set lifted_at = ? "
        + "where user_id = ? and entity_id = ? and lifted_at is null", Timestamp.from(now), userId, entityId) > 0;
  }

  /**
   * Lets forgotten entities and pauses of one user count for another as well; returns whether there are any. What
   * either of them forgets is forgotten; a pause of the first that is still open ends now.
   */
  boolean inherit(String fromUserId, String intoUserId, Instant now) {
    int forgotten = jdbc.update("insert into user_forgotten as mine (user_id, entity_id, forgotten_at, lifted_at) "
        + "select ?, entity_id, forgotten_at, lifted_at from user_forgotten where user_id = ? "
        + "on conflict (user_id, entity_id) do update set lifted_at = nullif(greatest("
        + "coalesce(mine.lifted_at, 'infinity'), coalesce(excluded.lifted_at, 'infinity')), 'infinity')",
        intoUserId, fromUserId);
    int pauses = jdbc.update("insert into user_pause as mine (user_id, paused_at, resumed_at) "
        + "select ?, paused_at, coalesce(resumed_at, ?) from user_pause where user_id = ? "
        + "on conflict (user_id, paused_at) do update set resumed_at = nullif(greatest("
        + "coalesce(mine.resumed_at, 'infinity'), excluded.resumed_at), 'infinity')",
        intoUserId, Timestamp.from(now), fromUserId);
    return forgotten + pauses > 0;
  }

  Map<String, LearningPolicy> policies(Collection<String> userIds) {
    String[] ids = userIds.toArray(String[]::new);
    Map<String, List<LearningPolicy.Pause>> pauses = new HashMap<>();
    jdbc.query("select user_id, paused_at, resumed_at from user_pause where user_id = any (?::text[])",
        row -> {
          pauses.computeIfAbsent(row.getString(1), id -> new ArrayList<>()).add(new LearningPolicy.Pause(
              row.getTimestamp(2).toInstant(), instant(row.getTimestamp(3))));
        }, (Object) ids);
    Map<String, Map<String, Instant>> forgotten = new HashMap<>();
    jdbc.query("select user_id, entity_id, lifted_at from user_forgotten where user_id = any (?::text[])",
        row -> {
          Instant lifted = instant(row.getTimestamp(3));
          forgotten.computeIfAbsent(row.getString(1), id -> new HashMap<>())
              .put(row.getString(2), lifted == null ? Instant.MAX : lifted);
        }, (Object) ids);
    Map<String, LearningPolicy> policies = new HashMap<>();
    jdbc.query("select user_id, personalization, learning, retention_days, sensitive from user_store "
            + "where user_id = any (?::text[])",
        row -> {
          String userId = row.getString(1);
          UserSettings settings = new UserSettings(row.getBoolean(2), row.getBoolean(3), (Integer) row.getObject(4),
              Set.of((String[]) row.getArray(5).getArray()));
          policies.put(userId, new LearningPolicy(settings, pauses.getOrDefault(userId, List.of()),
              forgotten.getOrDefault(userId, Map.of())));
        }, (Object) ids);
    return policies;
  }

  /** Users with a store. */
  List<String> userIds() {
    return jdbc.queryForList("select user_id from user_store order by user_id", String.class);
  }

  /** Deletes all that is held of the user here; returns how many rows of each kind. */
  Map<String, Long> erase(String userId) {
    Map<String, Long> counts = counts(userId);
    jdbc.update("delete from user_store where user_id = ?", userId);
    return counts;
  }

  /** Rows of the user by kind. */
  Map<String, Long> counts(String userId) {
    Map<String, Long> counts = new HashMap<>();
    counts.put("entities", count("user_entity", userId));
    counts.put("evidence", count("user_evidence", userId));
    counts.put("forgottenEntities", count("user_forgotten", userId));
    counts.put("settings", count("user_store", userId) + count("user_pause", userId));
    return counts;
  }

  private long count(String table, String userId) {
    Long count = jdbc.queryForObject("select count(*) from " + table + " where user_id = ?", Long.class, userId);
    return count == null ? 0 : count;
  }

  private static @Nullable Instant instant(@Nullable Timestamp timestamp) {
    return timestamp == null ? null : timestamp.toInstant();
  }
}
