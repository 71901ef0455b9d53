package dev.attune.knowledge;

import java.util.Collection;
import java.util.Map;

/** Sizes of the stores, for the administration. */
public interface StoreStatistics {

  /** Entities in the store of each user; users without any are left out. */
  Map<String, Integer> entityCounts(Collection<String> userIds);

  /** The same of every user whose id contains a text, any case; empty for all. */
  Map<String, Integer> entityCounts(String contains);

  Totals totals();

  /**
   * Over all users.
   *
   * @param users stores that hold something or have settings
   * @param entities rows over all stores: one per user and entity
   */
  record Totals(long users, long entities) {}
}
