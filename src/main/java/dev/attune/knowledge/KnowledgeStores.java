package dev.attune.knowledge;

import java.time.Instant;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The stores as a whole, for those who look after them. Reads here ignore the users' personalization setting. */
public interface KnowledgeStores {

  /**
   * Users with a store.
   *
   * @param contains part of the user id, any case; null for all
   * @param page from 0
   */
  StorePage stores(@Nullable String contains, StoreSort sort, int page, int size);

  /**
   * Entities of a user's store; empty for an unknown user.
   *
   * @param query part of the label, any case; null for all
   */
  EntityPage entities(String userId, @Nullable Mode mode, @Nullable String query, EntitySort sort, int page, int size);

  /** Entities that the user does not want to be learned. */
  List<ForgottenEntity> forgotten(String userId);

  /** The log items behind an entity, newest first. */
  TracePage trace(String userId, String entityId, int page, int size);

  Totals totals();

  /** Computes a user's store from the log. It ends the same as it was, unless the knowledge base changed since. */
  void rebuild(String userId);

  /**
   * Computes all stores from the log, one after the other.
   *
   * @param progress told after each
   * @return how many were done
   */
  long rebuildAll(Progress progress);

  /** Hears how far the work is. */
  @FunctionalInterface
  interface Progress {

    /** Returns whether the work goes on; false ends it early. */
    boolean at(long done, long total);
  }

  /** Deletes all that is held of a user, in the log and here, and has caches dropped. */
  ErasureReceipt erase(String userId);

  /** What stores are listed by, most first; ties by user id. */
  enum StoreSort {
    USER_ID, ENTITIES, LAST_SEEN
  }

  /** What entities are listed by, most first; ties by interest. */
  enum EntitySort {
    INTEREST, COUNT, LAST_SEEN, LABEL
  }

  /** @param total over all pages */
  record StorePage(List<StoreSummary> stores, long total) {
    public StorePage {
      stores = List.copyOf(stores);
    }
  }

  /**
   * Size of a user's store.
   *
   * @param evidence pieces of evidence: the sum of all counts, before the cap on entities
   */
  record StoreSummary(String userId, long entities, long evidence, @Nullable Instant lastSeen, UserSettings settings) {}

  /** @param total over all pages */
  record EntityPage(List<StoredEntity> entities, long total, int page, int size) {
    public EntityPage {
      entities = List.copyOf(entities);
    }
  }

  /**
   * An entity of a user's store.
   *
   * @param sources how it was met: {@code query}, {@code click}, {@code page}, or another action
   * @param interest weight of all evidence, decayed until now
   */
  record StoredEntity(String entityId, String label, String type, int count, Instant firstSeen, Instant lastSeen,
      Mode mode, List<String> sources, double interest) {
    public StoredEntity {
      sources = List.copyOf(sources);
    }
  }

  /** An entity that is not to be learned. */
  record ForgottenEntity(String entityId, String label, Instant forgottenAt) {}

  /** @param total over all pages */
  record TracePage(String entityId, String label, List<TracedItem> items, long total, int page, int size) {
    public TracePage {
      items = List.copyOf(items);
    }
  }

  /**
   * A log item that speaks for an entity.
   *
   * @param id of the query or event
   * @param kind {@code query} or {@code event}
   * @param source {@code query}, {@code click}, {@code page}, or another action
   * @param text what the user typed, or the title of the page (its id if it has none)
   * @param objectId page or document, for an event
   * @param queryId the query that an event followed
   */
  record TracedItem(String id, String kind, String source, String text, Instant at, double weight,
      @Nullable String objectId, @Nullable String queryId, boolean simulated) {}

  /**
   * Sums over all stores.
   *
   * @param pausedUsers users who paused learning
   * @param optedOutUsers users without personalization
   * @param sensitiveTypes entity types that are learned only where the user allows it
   */
  record Totals(long users, long entities, long evidence, long pausedUsers, long optedOutUsers,
      Set<String> sensitiveTypes) {}
}
