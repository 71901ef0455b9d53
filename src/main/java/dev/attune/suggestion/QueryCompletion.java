package dev.attune.suggestion;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Completes what a user is typing. Thread-safe; never fails for a missing source. */
public interface QueryCompletion {

  /**
   * Completions of a prefix, the user's own first, then popular ones, then names; no text twice.
   *
   * @param userId null for an anonymous request; unknown users and users who switched personalization off have no own
   *     queries
   * @param limit at most this many
   */
  List<Completion> complete(String prefix, @Nullable String userId, int limit);

  /**
   * One completion.
   *
   * @param entityId of a name, else null
   * @param type of the entity, else null
   */
  record Completion(String text, Source source, @Nullable String entityId, @Nullable String type) {}

  /** Where a completion comes from. */
  enum Source {
    /** The user's own queries. */
    @JsonProperty("own")
    OWN,
    /** Queries that several users asked (k-anonymous). */
    @JsonProperty("popular")
    POPULAR,
    /** Label of an entity, titles of documents included. */
    @JsonProperty("entity")
    ENTITY
  }
}
