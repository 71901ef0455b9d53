package dev.attune.knowledge;

import dev.attune.entity.Entity;
import dev.attune.entity.KnowledgeBase;
import dev.attune.searchlog.LoggedEvent;
import dev.attune.searchlog.LoggedQuery;
import dev.attune.searchlog.SearchLog;
import dev.attune.searchlog.UserLogs;
import java.sql.Timestamp;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.stereotype.Service;

/** Lists stores and what is in them. */
@Service
class StoredKnowledgeStores implements KnowledgeStores {

  private static final int USER_PAGE = 500;

  private final StoredUserKnowledge users;
  private final KnowledgeBase knowledge;
  private final EvidenceStore evidence;
  private final UserPolicyStore policies;
  private final Learning learning;
  private final Erasure erasure;
  private final SearchLog log;
  private final UserLogs logs;
  private final KnowledgeProperties properties;
  private final JdbcTemplate jdbc;
  private final Clock clock;

  StoredKnowledgeStores(StoredUserKnowledge users, KnowledgeBase knowledge, EvidenceStore evidence,
      UserPolicyStore policies, Learning learning, Erasure erasure, SearchLog log, UserLogs logs,
      KnowledgeProperties properties, JdbcTemplate jdbc, Clock knowledgeClock) {
    this.users = users;
    this.knowledge = knowledge;
    this.evidence = evidence;
    this.policies = policies;
    this.learning = learning;
    this.erasure = erasure;
    this.log = log;
    this.logs = logs;
    this.properties = properties;
    this.jdbc = jdbc;
    this.clock = knowledgeClock;
  }

  @Override
  public StorePage stores(@Nullable String contains, StoreSort sort, int page, int size) {
    String like = "%" + (contains == null ? "" : contains.toLowerCase(Locale.ROOT)
        .replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")) + "%";
    String order = switch (sort) {
      case USER_ID -> "s.user_id";
      case ENTITIES -> "entities desc, s.user_id";
      case LAST_SEEN -> "last_seen desc nulls last, s.user_id";
    };
    List<StoreSummary> stores = jdbc.query("select s.user_id, count(u.entity_id) as entities, "
            + "coalesce(sum(u.count), 0), max(u.last_seen) as last_seen, s.personalization, s.learning, "
            + "s.retention_days, s.sensitive from user_store s left join user_entity u on u.user_id = s.user_id "
            + "where lower(s.user_id) like ? group by s.user_id order by " + order + " limit ? offset ?",
        (row, number) -> {
          Timestamp last = row.getTimestamp(4);
          return new StoreSummary(row.getString(1), row.getLong(2), row.getLong(3),
              last == null ? null : last.toInstant(), new UserSettings(row.getBoolean(5), row.getBoolean(6),
                  (Integer) row.getObject(7), Set.of((String[]) row.getArray(8).getArray())));
        }, like, size, (long) page * size);
    return new StorePage(stores, count("select count(*) from user_store where lower(user_id) like ?", like));
  }

  @Override
  public EntityPage entities(String userId, @Nullable Mode mode, @Nullable String query, EntitySort sort, int page,
      int size) {
    StoreView view = users.view(userId);
    Instant now = clock.instant();
    String part = query == null ? "" : query.strip().toLowerCase(Locale.ROOT);
    List<StoredEntity> all = new ArrayList<>();
    for (StoreView.Known known : view.all()) {
      Mode own = users.mode(known, now);
      if (mode == null || mode == own) {
        Entity entity = knowledge.find(known.entityId()).orElse(null);
        String label = entity == null ? known.entityId() : entity.label();
        if (part.isEmpty() || label.toLowerCase(Locale.ROOT).contains(part)) {
          all.add(new StoredEntity(known.entityId(), label, entity == null ? "thing" : entity.type(), known.count(),
              known.firstSeen(), known.lastSeen(), own, known.sources(), view.interest(known, now)));
        }
      }
    }
    // The view is ordered by interest already, and sorting is stable.
    switch (sort) {
      case INTEREST -> { }
      case COUNT -> all.sort(Comparator.comparingInt(StoredEntity::count).reversed());
      case LAST_SEEN -> all.sort(Comparator.comparing(StoredEntity::lastSeen).reversed());
      case LABEL -> all.sort(Comparator.comparing(StoredEntity::label, String.CASE_INSENSITIVE_ORDER));
    }
    int from = (int) Math.min(all.size(), (long) page * size);
    return new EntityPage(all.subList(from, Math.min(all.size(), from + size)), all.size(), page, size);
  }

  @Override
  public List<ForgottenEntity> forgotten(String userId) {
    return jdbc.query("select entity_id, forgotten_at from user_forgotten where user_id = ? and lifted_at is null "
            + "order by forgotten_at desc, entity_id",
        (row, number) -> new ForgottenEntity(row.getString(1), label(row.getString(1)),
            row.getTimestamp(2).toInstant()), userId);
  }

  @Override
  public TracePage trace(String userId, String entityId, int page, int size) {
    String canonical = knowledge.canonicalId(entityId);
    StoreView.Known known = users.view(userId).find(canonical);
    if (known == null) {
      return new TracePage(canonical, label(canonical), List.of(), 0, page, size);
    }
    List<EvidenceStore.Reference> references = evidence.references(userId, known.storedIds(), page * size, size);
    Map<String, LoggedQuery> queries = new HashMap<>();
    log.queries(ids(references, Evidence.Kind.QUERY)).forEach(query -> queries.put(query.queryId(), query));
    Map<String, LoggedEvent> logged = new HashMap<>();
    log.events(ids(references, Evidence.Kind.EVENT)).forEach(event -> logged.put(event.eventId(), event));
    List<TracedItem> items = references.stream().map(reference -> reference.kind() == Evidence.Kind.QUERY
        ? traced(reference, queries.get(reference.eventId()))
        : traced(reference, logged.get(reference.eventId()))).toList();
    return new TracePage(canonical, label(canonical), items, known.count(), page, size);
  }

  private static TracedItem traced(EvidenceStore.Reference reference, @Nullable LoggedQuery query) {
    return new TracedItem(reference.eventId(), "query", reference.source(), query == null ? "" : query.text(),
        reference.at(), reference.weight(), null, null, query != null && query.simulated());
  }

  private TracedItem traced(EvidenceStore.Reference reference, @Nullable LoggedEvent event) {
    LoggedEvent.PageObject object = event == null ? null : event.object();
    return new TracedItem(reference.eventId(), "event", reference.source(), object == null ? "" : title(object),
        reference.at(), reference.weight(), object == null ? null : object.objectId(),
        event == null ? null : event.queryId(), event != null && event.simulated());
  }

  private String title(LoggedEvent.PageObject object) {
    if (object.title() != null) {
      return object.title();
    }
    String id = object.objectId();
    List<Entity.Neighbour> named = id == null ? List.of() : knowledge.ofDocument(id);
    return named.isEmpty() ? Objects.requireNonNullElse(id, "") : label(named.getFirst().id());
  }

  private static List<String> ids(List<EvidenceStore.Reference> references, Evidence.Kind kind) {
    return references.stream().filter(reference -> reference.kind() == kind)
        .map(EvidenceStore.Reference::eventId).toList();
  }

  private String label(String entityId) {
    return knowledge.find(entityId).map(Entity::label).orElse(entityId);
  }

  @Override
  public Totals totals() {
    return new Totals(count("select count(*) from user_store"), count("select count(*) from user_entity"),
        count("select count(*) from user_evidence"), count("select count(*) from user_store where not learning"),
        count("select count(*) from user_store where not personalization"), properties.sensitiveTypes());
  }

  private long count(String sql, Object... arguments) {
    return Objects.requireNonNullElse(jdbc.queryForObject(sql, Long.class, arguments), 0L);
  }

  @Override
  public void rebuild(String userId) {
    learning.rebuild(userId);
  }

  @Override
  public long rebuildAll(Progress progress) {
    Set<String> all = new TreeSet<>(policies.userIds());
    int page = 0;
    int read;
    do {
      UserLogs.UserPage users = logs.users(
          UserLogs.UserSort.USER_ID, new UserLogs.UserFilter(null, false, page++, USER_PAGE));
      read = users.users().size();
      users.users().forEach(user -> all.add(user.userId()));
    } while (read == USER_PAGE);
    long done = 0;
    for (String userId : all) {
      learning.rebuild(userId);
      if (!progress.at(++done, all.size())) {
        break;
      }
    }
    return done;
  }

  @Override
  public ErasureReceipt erase(String userId) {
    return erasure.erase(userId);
  }
}
