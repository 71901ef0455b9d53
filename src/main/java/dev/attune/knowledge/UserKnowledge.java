package dev.attune.knowledge;

import java.time.Instant;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Read access to the knowledge stores of the users. Unknown users have an empty store. Thread-safe. */
public interface UserKnowledge {

  /**
   * Selects the entities of the store (and, for {@link Mode#UNFAMILIAR}, of its neighbourhood) that matter in a
   * context. Never falls back to a favourite that has nothing to do with the context.
   *
   * @param modes which kinds may be selected
   * @param k how many at most
   * @return best first
   */
  List<SelectedEntity> select(String userId, SelectionContext context, Set<Mode> modes, int k);

  /**
   * Decayed interest of the user in each of the given entities.
   *
   * @return entity id to weight &gt; 0; entities the user never met are left out
   */
  Map<String, Double> interests(String userId, Collection<String> entityIds, Instant now);

  /** Ids of the newest events (queries or log events) behind an entity, newest first. */
  List<String> eventIds(String userId, String entityId, int limit);

  UserSettings settings(String userId);

  /** Entity types that are neither learned nor suggested unless the settings of the user allow them. */
  Set<String> sensitiveTypes();

  /**
   * What the user is looking at.
   *
   * @param query current query, may be null
   * @param page title and text of the current page, may be null
   * @param sessionEntityIds entities of the current session
   */
  record SelectionContext(
      @Nullable String query, @Nullable String page, List<String> sessionEntityIds, Instant now) {}

  /**
   * An entity chosen for a context.
   *
   * @param relevance to the context, in [0,1]
   * @param count how often the user met it; 0 for an unfamiliar one
   * @param via the user's own entity that led to it, when it was reached through a neighbour
   * @param eventIds newest first; those of {@code via} when the entity itself has none
   */
  record SelectedEntity(
      String entityId,
      String label,
      String type,
      Mode mode,
      double relevance,
      int count,
      @Nullable Instant lastSeen,
      @Nullable String via,
      List<String> eventIds) {}
}
