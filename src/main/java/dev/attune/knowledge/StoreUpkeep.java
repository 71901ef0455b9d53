package dev.attune.knowledge;

import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.context.event.EventListener;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.scheduling.annotation.Scheduled;
import org.springframework.stereotype.Component;

/** Retention, and stores that were computed with another half-life. */
@Component
class StoreUpkeep {

  private static final Logger log = LoggerFactory.getLogger(StoreUpkeep.class);
  private static final String HALF_LIFE = "knowledge.half-life";
  private static final int BATCH = 100;

  private final Learning learning;
  private final UserPolicyStore policies;
  private final KnowledgeProperties properties;
  private final JdbcTemplate jdbc;

  StoreUpkeep(Learning learning, UserPolicyStore policies, KnowledgeProperties properties, JdbcTemplate jdbc) {
    this.learning = learning;
    this.policies = policies;
    this.properties = properties;
    this.jdbc = jdbc;
  }

  /** Forgets what is older than its user's retention. */
  @Scheduled(fixedDelayString = "PT6H", initialDelayString = "PT1M")
  void expire() {
    List<String> users = learning.expiredUsers();
    users.forEach(learning::expire);
    if (!users.isEmpty()) {
      log.info("Retention: old evidence forgotten in {} stores", users.size());
    }
  }

  @EventListener(ApplicationReadyEvent.class)
  void adoptHalfLife() {
    String now = properties.halfLife().toString();
    List<String> before = jdbc.queryForList("select value from service_info where key = ?", String.class, HALF_LIFE);
    if (before.equals(List.of(now))) {
      return;
    }
    List<String> users = policies.userIds();
    for (int i = 0; i < users.size(); i += BATCH) {
      learning.recompute(users.subList(i, Math.min(users.size(), i + BATCH)));
    }
    jdbc.update("insert into service_info (key, value) values (?, ?) on conflict (key) do update set value = "
        + "excluded.value", HALF_LIFE, now);
    if (!users.isEmpty()) {
      log.info("Half-life is now {}: {} stores computed anew", now, users.size());
    }
  }
}
