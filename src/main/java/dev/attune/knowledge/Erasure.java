package dev.attune.knowledge;

import dev.attune.searchlog.UserLogs;
import java.sql.Timestamp;
import java.time.Clock;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.UUID;
import org.springframework.context.ApplicationEventPublisher;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.stereotype.Service;
import org.springframework.transaction.PlatformTransactionManager;
import org.springframework.transaction.support.TransactionTemplate;
import tools.jackson.core.type.TypeReference;
import tools.jackson.databind.json.JsonMapper;

/** Deletes users everywhere. */
@Service
class Erasure {

  private static final TypeReference<Map<String, Long>> COUNTS = new TypeReference<>() {};

  private final UserLogs logs;
  private final UserPolicyStore policies;
  private final ApplicationEventPublisher events;
  private final JdbcTemplate jdbc;
  private final JsonMapper json;
  private final TransactionTemplate transaction;
  private final Clock clock;

  Erasure(UserLogs logs, UserPolicyStore policies, ApplicationEventPublisher events, JdbcTemplate jdbc,
      JsonMapper json, PlatformTransactionManager transactions, Clock knowledgeClock) {
    this.logs = logs;
    this.policies = policies;
    this.events = events;
    this.jdbc = jdbc;
    this.json = json;
    this.transaction = new TransactionTemplate(transactions);
    this.clock = knowledgeClock;
  }

  /** Deletes a user, and with them the ids that were merged into them. */
  ErasureReceipt erase(String userId) {
    List<String> ids = new ArrayList<>();
    ErasureReceipt receipt = transaction.execute(status -> {
      // The log goes first: a batch that is being stored takes the log first, too.
      UserLogs.Erased log = logs.erase(userId);
      Map<String, Long> counts = new TreeMap<>();
      ids.add(userId);
      ids.addAll(log.mergedIds());
      ids.forEach(id -> policies.erase(id).forEach((kind, rows) -> counts.merge(kind, rows, Long::sum)));
      counts.put("queries", log.queries());
      counts.put("events", log.events());
      long remaining = ids.stream().mapToLong(this::remaining).sum();
      // Caches and files go before the rows do: after a crash in between, the rows are there to try again.
      ids.forEach(id -> events.publishEvent(new UserErased(id)));
      ErasureReceipt erased =
          new ErasureReceipt(UUID.randomUUID(), clock.instant().truncatedTo(ChronoUnit.MICROS), counts, remaining);
      jdbc.update("insert into erasure (receipt_id, erased_at, counts, remaining) values (?, ?, ?::jsonb, ?)",
          erased.receiptId(), Timestamp.from(erased.erasedAt()), json.writeValueAsString(counts), remaining);
      return erased;
    });
    // Again, for what was cached from the old rows before they were gone for others.
    ids.forEach(id -> events.publishEvent(new UserErased(id)));
    return Objects.requireNonNull(receipt);
  }

  private long remaining(String id) {
    return logs.remaining(id) + policies.counts(id).values().stream().mapToLong(Long::longValue).sum();
  }

  Optional<ErasureReceipt> receipt(UUID receiptId) {
    return jdbc.query("select erased_at, counts::text, remaining from erasure where receipt_id = ?",
        (row, number) -> new ErasureReceipt(receiptId, row.getTimestamp(1).toInstant(),
            json.readValue(row.getString(2), COUNTS), row.getLong(3)), receiptId).stream().findFirst();
  }
}
