package dev.attune.knowledge;

import java.sql.Timestamp;
import java.time.Instant;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.stereotype.Repository;

/**
 * Evidence, and the entities computed from it, in the database. Callers hold the lock of the users they write
 * ({@link UserPolicyStore#lock}).
 *
 * <p>Both are functions of the set of evidence that was ever added and not deleted: the newest {@code maxEvidence}
 * pieces are kept (a total order, so dropping early or late ends the same), and the {@code maxEntities} entities with
 * the most interest.
 */
@Repository
class EvidenceStore {

  /** Interest grows from here on; see {@code user_entity.interest}. */
  static final Instant EPOCH = Instant.parse("2020-01-01T00:00:00Z");

  /** Half-lives before or after the epoch, bounded so that no sum leaves the range of a double. */
  private static final String DECAYED_WEIGHT = "e.weight * power(2::float8, greatest(-900, least(900, "
      + "(extract(epoch from e.at)::float8 - " + EPOCH.getEpochSecond() + ") / ?::float8)))";

  private final JdbcTemplate jdbc;
  private final KnowledgeProperties properties;

  EvidenceStore(JdbcTemplate jdbc, KnowledgeProperties properties) {
    this.jdbc = jdbc;
    this.properties = properties;
  }

  /** An entity of a user's store. */
  record EntityRow(
      String entityId, int count, Instant firstSeen, Instant lastSeen, List<String> sources, double interest) {}

  /** Adds evidence; what is there already stays. */
  void add(Collection<Evidence> evidence) {
    List<Evidence> rows = List.copyOf(evidence);
    if (rows.isEmpty()) {
      return;
    }
    jdbc.update("insert into user_evidence (user_id, entity_id, kind, event_id, source, context_id, weight, at) "
            + "select * from unnest(?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::float8[], "
            + "?::timestamptz[]) on conflict do nothing",
        text(rows, Evidence::userId), text(rows, Evidence::entityId), text(rows, row -> row.kind().column),
        text(rows, Evidence::eventId), text(rows, Evidence::source), text(rows, Evidence::contextId),
        rows.stream().map(Evidence::weight).toArray(Double[]::new), text(rows, row -> row.at().toString()));
  }

  /** Deletes the evidence of log items; returns the users who lost some. */
  Set<String> withdraw(List<String> userIds, List<String> kinds, List<String> eventIds) {
    return users("delete from user_evidence e using unnest(?::text[], ?::text[], ?::text[]) w (user_id, kind, id) "
            + "where e.user_id = w.user_id and e.kind = w.kind and e.event_id = w.id returning e.user_id",
        userIds.toArray(String[]::new), kinds.toArray(String[]::new), eventIds.toArray(String[]::new));
  }

  void delete(String userId, String entityId) {
    jdbc.update("delete from user_evidence where user_id = ? and entity_id = ?", userId, entityId);
  }

  void deleteAll(Collection<String> userIds) {
    jdbc.update("delete from user_evidence where user_id = any (?::text[])", (Object) userIds.toArray(String[]::new));
  }

  /** Deletes evidence from before a time; returns whether there was any. */
  boolean expire(String userId, Instant oldest) {
    return jdbc.update("delete from user_evidence where user_id = ? and at < ?", userId, Timestamp.from(oldest)) > 0;
  }

  /** Users who hold evidence beyond their retention. */
  List<String> expiredUsers(Instant now) {
    return jdbc.queryForList("select s.user_id from user_store s where exists (select 1 from user_evidence e "
            + "where e.user_id = s.user_id and e.at < ?::timestamptz - make_interval(days => "
            + "coalesce(s.retention_days, ?)))", String.class, Timestamp.from(now), properties.retentionDays());
  }

  /** Drops the oldest evidence beyond the cap; returns the users who lost some. */
  Set<String> dropBeyondCap(Collection<String> userIds) {
    return users("delete from user_evidence e using ("
            + "select user_id, entity_id, kind, event_id, row_number() over (partition by user_id "
            + "order by at desc, event_id, kind, entity_id) as place from user_evidence where user_id in ("
            + "select user_id from user_evidence where user_id = any (?::text[]) group by user_id "
            + "having count(*) > ?)) r where r.place > ? and e.user_id = r.user_id and e.entity_id = r.entity_id "
            + "and e.kind = r.kind and e.event_id = r.event_id returning e.user_id",
        userIds.toArray(String[]::new), properties.maxEvidence(), properties.maxEvidence());
  }

  /** Computes all entities of the users anew. */
  void recompute(Collection<String> userIds) {
    String[] ids = userIds.toArray(String[]::new);
    jdbc.update("delete from user_entity where user_id = any (?::text[])", (Object) ids);
    jdbc.update("insert into user_entity (user_id, entity_id, count, first_seen, last_seen, sources, interest) "
        + "select e.user_id, e.entity_id, count(*), min(e.at), max(e.at), array_agg(distinct e.source), sum("
        + DECAYED_WEIGHT + " order by e.at, e.event_id, e.kind) from user_evidence e "
        + "where e.user_id = any (?::text[]) group by e.user_id, e.entity_id", seconds(), ids);
    trim(ids);
  }

  /** Computes some entities anew, after evidence for them was added and none deleted. */
  void recompute(Collection<Evidence> added, Collection<String> userIds) {
    List<Evidence> rows = List.copyOf(added);
    jdbc.update("insert into user_entity (user_id, entity_id, count, first_seen, last_seen, sources, interest) "
            + "select e.user_id, e.entity_id, count(*), min(e.at), max(e.at), array_agg(distinct e.source), sum("
            + DECAYED_WEIGHT + " order by e.at, e.event_id, e.kind) from user_evidence e "
            + "join (select distinct * from unnest(?::text[], ?::text[])) t (user_id, entity_id) "
            + "on t.user_id = e.user_id and t.entity_id = e.entity_id group by e.user_id, e.entity_id "
            + "on conflict (user_id, entity_id) do update set count = excluded.count, "
            + "first_seen = excluded.first_seen, last_seen = excluded.last_seen, sources = excluded.sources, "
            + "interest = excluded.interest",
        seconds(), text(rows, Evidence::userId), text(rows, Evidence::entityId));
    trim(userIds.toArray(String[]::new));
  }

  private void trim(String[] userIds) {
    jdbc.update("delete from user_entity u using (select user_id, entity_id, row_number() over (partition by user_id "
            + "order by interest desc, entity_id) as place from user_entity where user_id in ("
            + "select user_id from user_entity where user_id = any (?::text[]) group by user_id "
            + "having count(*) > ?)) r where r.place > ? and u.user_id = r.user_id and u.entity_id = r.entity_id",
        userIds, properties.maxEntities(), properties.maxEntities());
  }

  List<EntityRow> entities(String userId) {
    return jdbc.query("select entity_id, count, first_seen, last_seen, sources, interest from user_entity "
            + "where user_id = ?",
        (row, number) -> new EntityRow(row.getString(1), row.getInt(2), row.getTimestamp(3).toInstant(),
            row.getTimestamp(4).toInstant(), List.of((String[]) row.getArray(5).getArray()), row.getDouble(6)),
        userId);
  }

  /** A reference to a log item. */
  record Reference(Evidence.Kind kind, String eventId, String source, double weight, Instant at) {}

  /** What speaks for the entities, newest first. */
  List<Reference> references(String userId, Collection<String> entityIds, int offset, int limit) {
    return jdbc.query("select kind, event_id, min(source), max(weight), max(at) as newest from user_evidence "
            + "where user_id = ? and entity_id = any (?::text[]) group by kind, event_id "
            + "order by newest desc, event_id limit ? offset ?",
        (row, number) -> new Reference(
            row.getString(1).equals("query") ? Evidence.Kind.QUERY : Evidence.Kind.EVENT, row.getString(2),
            row.getString(3), row.getDouble(4), row.getTimestamp(5).toInstant()),
        userId, entityIds.toArray(String[]::new), limit, offset);
  }

  /** Entities met in the same contexts as the given ones, with in how many. */
  Map<String, Integer> metTogether(String userId, Collection<String> entityIds) {
    Map<String, Integer> together = new HashMap<>();
    jdbc.query("select entity_id, count(distinct context_id) from user_evidence where user_id = ? and context_id in ("
            + "select context_id from user_evidence where user_id = ? and entity_id = any (?::text[]) "
            + "order by at desc limit 500) group by entity_id",
        row -> {
          together.put(row.getString(1), row.getInt(2));
        }, userId, userId, entityIds.toArray(String[]::new));
    return together;
  }

  private double seconds() {
    return properties.halfLife().toMillis() / 1000.0;
  }

  private Set<String> users(String sql, Object... arguments) {
    Set<String> users = new HashSet<>();
    jdbc.query(sql, row -> {
      users.add(row.getString(1));
    }, arguments);
    return users;
  }

  private static String[] text(List<Evidence> rows, Function<Evidence, String> column) {
    return rows.stream().map(column).toArray(String[]::new);
  }
}
