package dev.attune.knowledge;

import dev.attune.entity.KnowledgeBase;
import dev.attune.searchlog.ActivityRecorded;
import dev.attune.searchlog.UserLogs;
import dev.attune.searchlog.UsersMerged;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.springframework.context.event.EventListener;
import org.springframework.stereotype.Component;
import org.springframework.transaction.annotation.Transactional;

/** Writes the stores: learns from the log, and lets users decide what is learned. */
@Component
class Learning {

  private final KnowledgeBase knowledge;
  private final EvidenceReader reader;
  private final EvidenceStore evidence;
  private final UserPolicyStore policies;
  private final UserLogs log;
  private final KnowledgeProperties properties;
  private final Clock clock;

  Learning(KnowledgeBase knowledge, EvidenceReader reader, EvidenceStore evidence, UserPolicyStore policies,
      UserLogs log, KnowledgeProperties properties, Clock knowledgeClock) {
    this.knowledge = knowledge;
    this.reader = reader;
    this.evidence = evidence;
    this.policies = policies;
    this.log = log;
    this.properties = properties;
    this.clock = knowledgeClock;
  }

  /** Learns in the transaction that stores the log items: both are durable, or neither. */
  @EventListener
  @Transactional
  public void learn(ActivityRecorded activity) {
    knowledge.awaitLoaded();
    List<Evidence> read = new ArrayList<>();
    activity.queries().forEach(query -> read.addAll(reader.read(query)));
    activity.events().forEach(event -> read.addAll(reader.read(event)));
    List<ActivityRecorded.Withdrawal> withdrawn =
        activity.withdrawn().stream().filter(item -> item.userId() != null).toList();
    Set<String> users = new HashSet<>();
    read.forEach(item -> users.add(item.userId()));
    withdrawn.forEach(item -> users.add(String.valueOf(item.userId())));
    if (users.isEmpty()) {
      return;
    }
    lock(users);
    Set<String> diminished = withdrawn.isEmpty() ? new HashSet<>() : evidence.withdraw(
        withdrawn.stream().map(item -> String.valueOf(item.userId())).toList(),
        withdrawn.stream().map(item -> item.kind().name().toLowerCase(Locale.ROOT)).toList(),
        withdrawn.stream().map(ActivityRecorded.Withdrawal::id).toList());
    add(read, users, diminished);
  }

  /** Lets one change a user's store at a time, and none before all entities are known. */
  private void lock(Collection<String> users) {
    knowledge.awaitLoaded();
    policies.lock(users);
  }

  /** Adds what is allowed of the evidence, keeps the caps, and computes the entities. */
  private void add(List<Evidence> read, Set<String> users, Set<String> diminished) {
    Instant now = clock.instant();
    Map<String, LearningPolicy> rules = policies.policies(users);
    rules.replaceAll((user, rule) -> rule.canonical(knowledge::canonicalId));
    List<Evidence> allowed = read.stream().filter(item -> {
      LearningPolicy rule = rules.get(item.userId());
      return rule != null && rule.allows(item, properties.sensitiveTypes(), oldest(rule, now));
    }).toList();
    evidence.add(allowed);
    diminished.addAll(evidence.dropBeyondCap(users));
    Set<String> grown = new HashSet<>(users);
    grown.removeAll(diminished);
    if (!diminished.isEmpty()) {
      evidence.recompute(diminished);
    }
    if (!grown.isEmpty()) {
      evidence.recompute(allowed.stream().filter(item -> grown.contains(item.userId())).toList(), grown);
    }
    policies.touch(users);
  }

  private Instant oldest(LearningPolicy rule, Instant now) {
    Integer days = rule.settings().retentionDays();
    return now.minus(Duration.ofDays(days == null ? properties.retentionDays() : days));
  }

  /**
   * Ends the store of a user who was merged into another. The other has learned from the items that moved; what the
   * first had forgotten, and what happened while they had paused learning, stays out. The other's settings hold.
   */
  @EventListener
  @Transactional
  public void merge(UsersMerged merged) {
    lock(List.of(merged.from(), merged.into()));
    boolean inherited = policies.inherit(merged.from(), merged.into(), clock.instant());
    policies.erase(merged.from());
    if (inherited) {
      rebuildLocked(merged.into());
    }
  }

  /** Computes a user's store from the log alone. It ends the same as learning step by step. */
  @Transactional
  public void rebuild(String userId) {
    lock(List.of(userId));
    rebuildLocked(userId);
  }

  private void rebuildLocked(String userId) {
    evidence.deleteAll(List.of(userId));
    List<Evidence> read = new ArrayList<>();
    log.replay(userId, query -> read.addAll(reader.read(query)), event -> read.addAll(reader.read(event)));
    add(read, Set.of(userId), new HashSet<>(Set.of(userId)));
  }

  @Transactional
  public void forget(String userId, Collection<String> entityIds) {
    lock(List.of(userId));
    for (String entityId : entityIds) {
      policies.forget(userId, entityId, clock.instant());
      evidence.delete(userId, entityId);
    }
    evidence.recompute(List.of(userId));
    policies.touch(List.of(userId));
  }

  /** Lets an entity be learned again, from now on; returns whether it was forgotten. */
  @Transactional
  public boolean allow(String userId, Collection<String> entityIds) {
    lock(List.of(userId));
    boolean allowed = false;
    for (String entityId : entityIds) {
      allowed |= policies.allow(userId, entityId, clock.instant());
    }
    policies.touch(List.of(userId));
    return allowed;
  }

  /** Applies new settings, to what was learned before as well. */
  @Transactional
  public void change(String userId, UserSettings settings) {
    lock(List.of(userId));
    UserSettings before = policies.policies(List.of(userId)).get(userId).settings();
    policies.save(userId, settings);
    if (before.learning() && !settings.learning()) {
      policies.pause(userId, clock.instant());
    } else if (!before.learning() && settings.learning()) {
      policies.resume(userId, clock.instant());
    }
    boolean sensitiveChanged = !before.sensitive().equals(settings.sensitive());
    boolean longer = days(settings) > days(before);
    if (sensitiveChanged || longer) {
      rebuildLocked(userId);
    } else if (days(settings) < days(before)) {
      expire(userId, settings);
    }
    policies.touch(List.of(userId));
  }

  private int days(UserSettings settings) {
    Integer days = settings.retentionDays();
    return days == null ? properties.retentionDays() : days;
  }

  private void expire(String userId, UserSettings settings) {
    if (evidence.expire(userId, clock.instant().minus(Duration.ofDays(days(settings))))) {
      evidence.recompute(List.of(userId));
    }
  }

  /** Drops what is older than the user's retention. */
  @Transactional
  public void expire(String userId) {
    lock(List.of(userId));
    expire(userId, policies.policies(List.of(userId)).get(userId).settings());
    policies.touch(List.of(userId));
  }

  List<String> expiredUsers() {
    return evidence.expiredUsers(clock.instant());
  }

  @Transactional
  public void recompute(List<String> userIds) {
    lock(userIds);
    evidence.recompute(userIds);
    policies.touch(userIds);
  }
}
