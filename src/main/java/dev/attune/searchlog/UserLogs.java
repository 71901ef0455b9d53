package dev.attune.searchlog;

import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ObjectNode;

/** The log by user: to rebuild what was derived from it, to export, to erase, to merge, and to look over. */
public interface UserLogs {

  /** Hands out all that the log holds of a user: queries oldest first, then events oldest first. */
  void replay(String userId, Consumer<LoggedQuery> queries, Consumer<LoggedEvent> events);

  /** Hands out the same as UBI items, which {@link SearchLog#ingest} takes back. */
  void export(String userId, Consumer<ObjectNode> items);

  /**
   * Deletes what the log holds of a user, and of the ids that were merged into them. To be called before other tables
   * are changed in the same transaction: a batch that is being stored takes the log first and then what is derived
   * from it.
   */
  Erased erase(String userId);

  /** Rows that name a user in any column; 0 after {@link #erase}. */
  long remaining(String userId);

  /**
   * Counts the items of one user, stored ones and those to come, for another: the one into whom the second id was
   * merged, if it was. Publishes {@link ActivityRecorded}, which lets the items move in what is derived from them too,
   * and then {@link UsersMerged}. The order of calls is that of {@link #erase}.
   *
   * @return how many stored items moved; 0 when this was done before
   * @throws AlreadyMergedException when the first has the second's items already, or was merged into somebody else
   */
  long merge(String fromUserId, String intoUserId);

  /** The user for whom items of an id count, when it was merged into one. */
  Optional<String> mergedInto(String userId);

  /** One page of users who have items. */
  UserPage users(UserSort sort, UserFilter filter);

  /**
   * One page of the same users, by a number that something else than the log knows of them.
   *
   * @param numbers by user id; a user who is left out has 0, an id without items is not listed
   */
  UserPage users(Map<String, Integer> numbers, UserFilter filter);

  Optional<UserActivity> user(String userId);

  /**
   * Deleted rows.
   *
   * @param mergedIds ids that were merged into the user
   */
  record Erased(long queries, long events, List<String> mergedIds) {

    public Erased {
      mergedIds = List.copyOf(mergedIds);
    }
  }

  /**
   * Which users to list; ties by user id, so that no user is on two pages or on none.
   *
   * @param contains part of the user id, any case; null for all
   * @param page from 0
   */
  record UserFilter(@Nullable String contains, boolean descending, int page, int size) {}

  /** What the log can list users by. */
  enum UserSort {
    USER_ID("user_id"),
    QUERIES("queries"),
    EVENTS("events"),
    FIRST_SEEN("first_seen"),
    LAST_SEEN("last_seen");

    final String column;

    UserSort(String column) {
      this.column = column;
    }
  }

  /** @param total users that match, over all pages */
  record UserPage(List<UserActivity> users, long total) {

    public UserPage {
      users = List.copyOf(users);
    }
  }

  /**
   * What a user did.
   *
   * @param simulated true when some of it was generated for the demo: the user is invented, whoever searches as it
   */
  record UserActivity(
      String userId, long queries, long events, Instant firstSeen, Instant lastSeen, boolean simulated) {}
}
