package dev.attune.searchlog;

/**
 * Published inside the transaction that merges two users, after all {@link ActivityRecorded} of the items that moved:
 * what else is held of the first user belongs to the second now.
 *
 * @param from the id that is no user of its own any more
 * @param into the user for whom its items count
 */
public record UsersMerged(String from, String into) {}
