package dev.attune.admin;

import dev.attune.knowledge.StoreStatistics;
import dev.attune.knowledge.UserKnowledge;
import dev.attune.knowledge.UserSettings;
import dev.attune.searchlog.AlreadyMergedException;
import dev.attune.searchlog.LoggedQuery;
import dev.attune.searchlog.SearchLog;
import dev.attune.searchlog.UserLogs;
import dev.attune.web.PagedList;
import dev.attune.web.Problems;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.springframework.http.HttpStatus;
import org.springframework.stereotype.Component;

/** Users as search log and knowledge stores know them. */
@Component
class UserDirectory {

  private static final int RECENT_QUERIES = 50;
  private static final String ENTITIES = "entities";

  private final UserLogs logs;
  private final SearchLog searchLog;
  private final StoreStatistics stores;
  private final UserKnowledge knowledge;

  UserDirectory(UserLogs logs, SearchLog searchLog, StoreStatistics stores, UserKnowledge knowledge) {
    this.logs = logs;
    this.searchLog = searchLog;
    this.stores = stores;
    this.knowledge = knowledge;
  }

  /**
   * A row of the list.
   *
   * @param simulated made up for the demo
   * @param entities in the user's store
   */
  record UserRow(
      String userId,
      boolean simulated,
      long queries,
      long events,
      int entities,
      Instant firstSeen,
      Instant lastSeen) {}

  /** One user with settings and newest queries. */
  record UserDetail(
      String userId,
      boolean simulated,
      long queries,
      long events,
      int entities,
      Instant firstSeen,
      Instant lastSeen,
      UserSettings settings,
      List<LoggedQuery> recentQueries) {}

  /**
   * Outcome of a merge.
   *
   * @param userId whose items they are now
   * @param movedItems stored queries and events that were another's before
   */
  record Merged(String userId, long movedItems) {}

  /** @param sort a column, with {@code -} in front for descending */
  PagedList<UserRow> page(String sort, @Nullable String contains, int page, int size) {
    boolean descending = sort.startsWith("-");
    String column = descending ? sort.substring(1) : sort;
    String part = contains == null ? "" : contains.strip();
    UserLogs.UserFilter filter = new UserLogs.UserFilter(part.isEmpty() ? null : part, descending, page, size);
    UserLogs.UserPage found;
    Map<String, Integer> entities;
    if (column.equals(ENTITIES)) {
      // The sizes lie in another room than the log, which knows who there is.
      entities = stores.entityCounts(part);
      found = logs.users(entities, filter);
    } else {
      found = logs.users(column(column), filter);
      entities = stores.entityCounts(found.users().stream().map(UserLogs.UserActivity::userId).toList());
    }
    List<UserRow> rows =
        found.users().stream().map(user -> row(user, entities.getOrDefault(user.userId(), 0))).toList();
    return new PagedList<>(found.total(), page, size, rows);
  }

  UserDetail find(String userId) {
    UserLogs.UserActivity user = logs.user(userId).orElseThrow(() -> Problems.notFound("user", userId));
    int entities = stores.entityCounts(List.of(userId)).getOrDefault(userId, 0);
    return new UserDetail(user.userId(), user.simulated(), user.queries(), user.events(), entities, user.firstSeen(),
        user.lastSeen(), knowledge.settings(userId), searchLog.recentQueries(userId, RECENT_QUERIES));
  }

  /** Merges the first user into the second. */
  Merged merge(String from, String into) {
    if (from.equals(into)) {
      throw Problems.badField("intoUserId", "must name another user than fromUserId");
    }
    String target = logs.mergedInto(into).orElse(into);
    if (logs.mergedInto(from).isEmpty()) {
      checkKnown(from);
    }
    checkKnown(target);
    try {
      return new Merged(target, logs.merge(from, into));
    } catch (AlreadyMergedException e) {
      throw Problems.of(HttpStatus.CONFLICT, String.valueOf(e.getMessage()));
    }
  }

  /** @throws org.springframework.web.ErrorResponseException 404 for a user whom the log does not know */
  void checkKnown(String userId) {
    if (logs.user(userId).isEmpty()) {
      throw Problems.notFound("user", userId);
    }
  }

  private static UserRow row(UserLogs.UserActivity user, int entities) {
    return new UserRow(user.userId(), user.simulated(), user.queries(), user.events(), entities, user.firstSeen(),
        user.lastSeen());
  }

  private static UserLogs.UserSort column(String name) {
    return Arrays.stream(UserLogs.UserSort.values())
        .filter(sort -> camelCase(sort).equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                Problems.badField(
                    "sort",
                    Arrays.stream(UserLogs.UserSort.values())
                        .map(UserDirectory::camelCase)
                        .collect(Collectors.joining(
                            ", ", "must be one of entities, ", ", with - in front for descending"))));
  }

  private static String camelCase(UserLogs.UserSort sort) {
    StringBuilder name = new StringBuilder();
    for (char c : sort.name().toCharArray()) {
      boolean wordStart = !name.isEmpty() && name.charAt(name.length() - 1) == '_';
      if (wordStart) {
        name.setLength(name.length() - 1);
      }
      name.append(c == '_' || wordStart ? c : Character.toLowerCase(c));
    }
    return name.toString();
  }
}
