package dev.attune.searchlog;

import java.time.Instant;
import org.jspecify.annotations.Nullable;

/**
 * An event of a search log (UBI 1.3 {@code ubi_events}).
 *
 * @param eventId unique id, given or derived from the content
 * @param action for example {@code click}, {@code impression} or {@code add_to_cart}
 * @param queryId the query it followed, if any
 * @param object the page or product it is about, if any
 * @param visit true when the user turned to the object (click, view, cart, …); false when it was only shown to them,
 *     turned down, or when the event is about no object. Only visits tell an interest
 * @param position ordinal in the result list as logged, if known; most sources count from one, some from zero
 * @param simulated true when generated for the demo rather than logged from a person
 */
public record LoggedEvent(
    String eventId,
    String action,
    boolean visit,
    @Nullable String userId,
    @Nullable String sessionId,
    @Nullable String queryId,
    Instant timestamp,
    @Nullable PageObject object,
    @Nullable Integer position,
    boolean simulated) {

  /** A page that an event is about. Without a text, {@code objectId} may name an indexed document. */
  public record PageObject(
      @Nullable String objectId, @Nullable String title, @Nullable String text, @Nullable String url) {}
}
