package dev.attune.knowledge;

import dev.attune.searchlog.LoggedEvent;
import dev.attune.searchlog.LoggedQuery;
import java.util.function.Consumer;

/** Reads all that the log holds of a user. */
interface ActivityReplay {

  void visit(String userId, Consumer<LoggedQuery> queries, Consumer<LoggedEvent> events);
}
