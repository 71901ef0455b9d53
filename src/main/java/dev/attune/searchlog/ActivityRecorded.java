package dev.attune.searchlog;

import java.util.List;

/**
 * Published inside the transaction that stored new queries and events, so that what listeners derive is stored with
 * them or not at all. Duplicates are not in it.
 */
public record ActivityRecorded(List<LoggedQuery> queries, List<LoggedEvent> events) {}
