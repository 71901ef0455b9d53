package dev.attune.knowledge;

import java.util.Collection;
import java.util.List;
import java.util.Map;

/** Sizes of the stores, for the administration. */
public interface StoreStatistics {

  /** Entities in the store of each user; users without any are left out. */
  Map<String, Integer> entityCounts(Collection<String> userIds);

  /**
   * Users by the size of their store, ties by user id; only those who have one.
   *
   * @param contains part of the user id, any case; empty for all
   * @param page from 0
   */
  BySize bySize(String contains, boolean descending, int page, int size);

  Totals totals();

  /**
   * One page of user ids.
   *
   * @param total users with entities whose id matches, over all pages
   */
  record BySize(long total, List<String> userIds) {}

  /**
   * Over all users.
   *
   * @param users stores that hold something or have settings
   * @param entities rows over all stores: one per user and entity
   */
  record Totals(long users, long entities) {}
}
