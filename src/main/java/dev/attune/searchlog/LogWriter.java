package dev.attune.searchlog;

import dev.attune.searchlog.ActivityRecorded.Kind;
import dev.attune.searchlog.ActivityRecorded.Withdrawal;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.MeterRegistry;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Semaphore;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.springframework.context.ApplicationEventPublisher;
import org.springframework.stereotype.Component;
import org.springframework.transaction.PlatformTransactionManager;
import org.springframework.transaction.support.TransactionSynchronizationManager;
import org.springframework.transaction.support.TransactionTemplate;

/**
 * Stores batches of items, each in one transaction, so that the tables end up the same for any order of arrival:
 *
 * <ol>
 *   <li>of several records with one id, the one of smallest precedence stays;
 *   <li>events that came before their query get its user and session when it arrives;
 *   <li>sessions by silence are derived again around everything that was added or moved.
 * </ol>
 *
 * <p>Batches are stored one at a time, in this process by a fair semaphore (waiting costs no database connection),
 * between processes by an advisory lock. Two batches side by side could not see each other's queries and events.
 */
@Component
class LogWriter {

  private final LogTables tables;
  private final SessionDeriver sessions;
  private final IngestionTables ingestion;
  private final ApplicationEventPublisher publisher;
  private final TransactionTemplate transaction;
  private final Counter accepted;
  private final Counter duplicates;
  private final Counter rejected;
  private final Semaphore turn = new Semaphore(1, true);

  LogWriter(
      LogTables tables,
      SessionDeriver sessions,
      IngestionTables ingestion,
      ApplicationEventPublisher publisher,
      PlatformTransactionManager transactionManager,
      MeterRegistry meters) {
    this.tables = tables;
    this.sessions = sessions;
    this.ingestion = ingestion;
    this.publisher = publisher;
    this.transaction = new TransactionTemplate(transactionManager);
    this.accepted = counter(meters, "accepted");
    this.duplicates = counter(meters, "duplicate");
    this.rejected = counter(meters, "rejected");
  }

  private static Counter counter(MeterRegistry meters, String outcome) {
    return Counter.builder("attune.searchlog.items")
        .description("Search log items taken in, by what became of them")
        .tag("outcome", outcome)
        .register(meters);
  }

  /**
   * Stores one batch with its rejections; committed when the call returns.
   *
   * @return how many items were new
   */
  int store(Batch batch) {
    int added = exclusively(() -> storeLocked(batch));
    accepted.increment(added);
    duplicates.increment(batch.items() - added);
    rejected.increment(batch.rejections().size());
    return added;
  }

  /** Makes a change that must not meet a batch half way, in the caller's transaction if there is one. */
  <T> T exclusively(Supplier<T> change) {
    // Within a transaction, which may hold rows that the batch before waits for, only the database sees a deadlock.
    boolean waits = !TransactionSynchronizationManager.isActualTransactionActive();
    if (waits) {
      turn.acquireUninterruptibly();
    }
    try {
      return transaction.execute(
          status -> {
            tables.lock();
            return change.get();
          });
    } finally {
      if (waits) {
        turn.release();
      }
    }
  }

  private int storeLocked(Batch batch) {
    Changes changes = new Changes();
    int added = storeQueries(batch.queries(), changes) + storeEvents(batch.events(), changes);
    sessions.derive(changes.touched);
    ingestion.count(batch.received(), added, batch.items() - added, batch.rejections());
    if (changes.any()) {
      publisher.publishEvent(
          new ActivityRecorded(
              tables.queries(changes.queryIds), tables.events(changes.eventIds), changes.withdrawn));
    }
    return added;
  }

  private int storeQueries(Collection<UbiItem.Query> items, Changes changes) {
    Map<String, UbiItem.Query> best = new LinkedHashMap<>();
    items.forEach(
        q -> best.merge(q.queryId(), q, (a, b) -> a.precedence().compareTo(b.precedence()) <= 0 ? a : b));
    Map<String, LogTables.Stored> stored = tables.storedQueries(best.keySet());
    best.values().removeIf(q -> loses(q.precedence(), stored.get(q.queryId())));
    if (best.isEmpty()) {
      return 0;
    }
    int added = 0;
    for (UbiItem.Query query : best.values()) {
      added += changes.replace(Kind.QUERY, query.queryId(), stored.get(query.queryId()));
    }
    changes.touch(tables.saveQueries(best.values()));
    for (LogTables.Moved event : tables.followQueries(best.keySet())) {
      changes.move(event);
    }
    return added;
  }

  private int storeEvents(Collection<UbiItem.Event> items, Changes changes) {
    Map<String, UbiItem.Event> best = new LinkedHashMap<>();
    items.forEach(
        e -> best.merge(e.eventId(), e, (a, b) -> a.precedence().compareTo(b.precedence()) <= 0 ? a : b));
    Map<String, LogTables.Stored> stored = tables.storedEvents(best.keySet());
    best.values().removeIf(e -> loses(e.precedence(), stored.get(e.eventId())));
    if (best.isEmpty()) {
      return 0;
    }
    int added = 0;
    for (UbiItem.Event event : best.values()) {
      added += changes.replace(Kind.EVENT, event.eventId(), stored.get(event.eventId()));
    }
    changes.touch(tables.saveEvents(best.values()));
    return added;
  }

  private static boolean loses(String precedence, LogTables.@Nullable Stored stored) {
    return stored != null && stored.precedence().compareTo(precedence) <= 0;
  }

  /**
   * Items of one transaction.
   *
   * @param rejections counted and remembered with the batch
   */
  record Batch(
      Instant received, List<UbiItem.Query> queries, List<UbiItem.Event> events, List<SearchLog.Rejection> rejections) {

    int items() {
      return queries.size() + events.size();
    }
  }

  /** What a batch did to the log. */
  private static final class Changes {

    final Set<String> queryIds = new HashSet<>();
    final Set<String> eventIds = new HashSet<>();
    final List<Withdrawal> withdrawn = new ArrayList<>();
    final Map<String, SessionDeriver.Range> touched = new HashMap<>();

    boolean any() {
      return !queryIds.isEmpty() || !eventIds.isEmpty();
    }

    /** Returns 1 when the item is new. */
    int replace(Kind kind, String id, LogTables.@Nullable Stored former) {
      boolean fresh = (kind == Kind.QUERY ? queryIds : eventIds).add(id);
      if (former == null) {
        return 1;
      }
      if (fresh) {
        withdrawn.add(new Withdrawal(kind, id, former.userId()));
      }
      touch(former.userId(), former.at());
      return 0;
    }

    void move(LogTables.Moved event) {
      if (eventIds.add(event.id())) {
        withdrawn.add(new Withdrawal(Kind.EVENT, event.id(), event.formerUserId()));
      }
      touch(event.formerUserId(), event.at());
      touch(event.userId(), event.at());
    }

    void touch(List<LogTables.Moment> moments) {
      moments.forEach(m -> touch(m.userId(), m.at()));
    }

    private void touch(@Nullable String userId, Instant at) {
      if (userId != null) {
        touched.merge(userId, new SessionDeriver.Range(at, at), SessionDeriver.Range::with);
      }
    }
  }
}
