package dev.attune.knowledge;

import com.fasterxml.jackson.annotation.JsonInclude;
import dev.attune.entity.KnowledgeBase;
import dev.attune.searchlog.SearchLog;
import dev.attune.web.Problems;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.tags.Tag;
import java.time.Instant;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.springframework.http.HttpStatus;
import org.springframework.web.bind.annotation.DeleteMapping;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PutMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;

@RestController
@RequestMapping("/api/v1/users/{userId}")
@Tag(name = "A user's own store")
class UserStoreController {

  private static final int MAX_PAGE_SIZE = 200;

  private final KnowledgeStores stores;
  private final StoredUserKnowledge users;
  private final Learning learning;
  private final KnowledgeBase knowledge;
  private final KnowledgeProperties properties;

  UserStoreController(KnowledgeStores stores, StoredUserKnowledge users, Learning learning, KnowledgeBase knowledge,
      KnowledgeProperties properties) {
    this.stores = stores;
    this.users = users;
    this.learning = learning;
    this.knowledge = knowledge;
    this.properties = properties;
  }

  /** Entities of the store, one page; and all that the user does not want to be learned. */
  record EntitiesAnswer(List<EntityAnswer> items, long total, int page, int size,
      List<KnowledgeStores.ForgottenEntity> forgotten) {}

  record EntityAnswer(String entityId, String label, String type, int count, Instant firstSeen,
      Instant lastSeen, String mode, List<String> sources, double interest) {

    static EntityAnswer of(KnowledgeStores.StoredEntity entity) {
      return new EntityAnswer(entity.entityId(), entity.label(), entity.type(), entity.count(), entity.firstSeen(),
          entity.lastSeen(), entity.mode().name().toLowerCase(Locale.ROOT), entity.sources(), entity.interest());
    }
  }

  @Operation(summary = "Entities that the user met", description = "mode: familiar, unfamiliar (met once) or lapsed"
      + " (not for 14 days). q: part of the label. sort: interest, count, lastSeen or label. An unknown user has none.")
  @GetMapping("/entities")
  EntitiesAnswer entities(@PathVariable String userId, @RequestParam(required = false) @Nullable String mode,
      @RequestParam(required = false) @Nullable String q, @RequestParam(defaultValue = "interest") String sort,
      @RequestParam(defaultValue = "0") int page, @RequestParam(defaultValue = "50") int size) {
    checkPage(page, size);
    KnowledgeStores.EntityPage found = stores.entities(checked(userId), mode(mode), q, sort(sort), page, size);
    return new EntitiesAnswer(found.entities().stream().map(EntityAnswer::of).toList(), found.total(), page, size,
        stores.forgotten(userId));
  }

  @Operation(summary = "Searches and visits behind an entity, newest first")
  @GetMapping("/entities/{entityId}/events")
  KnowledgeStores.TracePage events(@PathVariable String userId, @PathVariable String entityId,
      @RequestParam(defaultValue = "0") int page, @RequestParam(defaultValue = "50") int size) {
    checkPage(page, size);
    return stores.trace(checked(userId), entityId, page, size);
  }

  @Operation(summary = "Forget an entity", description = "and never learn it again until it is allowed with PUT")
  @DeleteMapping("/entities/{entityId}")
  @ResponseStatus(HttpStatus.NO_CONTENT)
  void forget(@PathVariable String userId, @PathVariable String entityId) {
    learning.forget(checked(userId), ids(userId, entityId));
  }

  @Operation(summary = "Allow a forgotten entity to be learned again, from now on")
  @PutMapping("/entities/{entityId}")
  @ResponseStatus(HttpStatus.NO_CONTENT)
  void allow(@PathVariable String userId, @PathVariable String entityId) {
    learning.allow(checked(userId), ids(userId, entityId));
  }

  /** All ids under which the entity may have been learned or forgotten. */
  private Collection<String> ids(String userId, String entityId) {
    String canonical = knowledge.canonicalId(entityId);
    StoreView.Known known = users.view(userId).find(canonical);
    Set<String> ids = new TreeSet<>(Set.of(canonical));
    if (known != null) {
      ids.addAll(known.storedIds());
    }
    stores.forgotten(userId).stream().map(KnowledgeStores.ForgottenEntity::entityId)
        .filter(id -> knowledge.canonicalId(id).equals(canonical)).forEach(ids::add);
    if (ids.size() == 1 && known == null && knowledge.find(canonical).isEmpty()
        && stores.forgotten(userId).stream().noneMatch(forgotten -> forgotten.entityId().equals(canonical))) {
      throw Problems.notFound("entity", entityId);
    }
    return ids;
  }

  /**
   * @param sensitiveTypes types that can be named in {@code sensitive}; not read
   * @param defaultRetentionDays what holds without {@code retentionDays}; not read
   */
  record Settings(@Nullable String personalization, @Nullable String learning, @Nullable Integer retentionDays,
      @Nullable List<String> sensitive,
      @JsonInclude(JsonInclude.Include.NON_NULL) @Nullable List<String> sensitiveTypes,
      @JsonInclude(JsonInclude.Include.NON_NULL) @Nullable Integer defaultRetentionDays) {

    static Settings of(UserSettings settings) {
      return new Settings(settings.personalization() ? "on" : "off", settings.learning() ? "on" : "paused",
          settings.retentionDays(), settings.sensitive().stream().sorted().toList(), null, null);
    }
  }

  @Operation(summary = "What the user allows")
  @GetMapping("/settings")
  Settings settings(@PathVariable String userId) {
    Settings settings = Settings.of(users.settings(checked(userId)));
    return new Settings(settings.personalization, settings.learning, settings.retentionDays, settings.sensitive,
        properties.sensitiveTypes().stream().sorted().toList(), properties.retentionDays());
  }

  @Operation(summary = "Set what the user allows", description = "Replaces all settings. Without retentionDays the"
      + " service's default holds, without sensitive nothing sensitive is learned.")
  @PutMapping("/settings")
  Settings changeSettings(@PathVariable String userId, @RequestBody Settings body) {
    boolean personalization = choice("personalization", body.personalization, Map.of("on", true, "off", false));
    boolean learns = choice("learning", body.learning, Map.of("on", true, "paused", false));
    Integer days = body.retentionDays;
    if (days != null && (days < 1 || days > 36_500)) {
      throw Problems.badField("retentionDays", "must be between 1 and 36500, or absent for the default");
    }
    Set<String> sensitive = body.sensitive == null ? Set.of() : new TreeSet<>(body.sensitive);
    for (String type : sensitive) {
      if (!properties.sensitiveTypes().contains(type)) {
        throw Problems.badField("sensitive", "must name types of "
            + String.join(", ", new TreeSet<>(properties.sensitiveTypes())));
      }
    }
    learning.change(checked(userId), new UserSettings(personalization, learns, days, sensitive));
    return settings(userId);
  }

  private static boolean choice(String field, @Nullable String value, Map<String, Boolean> choices) {
    Boolean chosen = value == null ? null : choices.get(value);
    if (chosen == null) {
      throw Problems.badField(field, "must be one of " + String.join(", ", new TreeSet<>(choices.keySet())));
    }
    return chosen;
  }

  private static @Nullable Mode mode(@Nullable String mode) {
    if (mode == null || mode.isEmpty()) {
      return null;
    }
    return switch (mode.toLowerCase(Locale.ROOT)) {
      case "familiar" -> Mode.FAMILIAR;
      case "unfamiliar" -> Mode.UNFAMILIAR;
      case "lapsed" -> Mode.LAPSED;
      default -> throw Problems.badField("mode", "must be one of familiar, unfamiliar, lapsed");
    };
  }

  private static KnowledgeStores.EntitySort sort(String sort) {
    return switch (sort) {
      case "interest" -> KnowledgeStores.EntitySort.INTEREST;
      case "count" -> KnowledgeStores.EntitySort.COUNT;
      case "lastSeen" -> KnowledgeStores.EntitySort.LAST_SEEN;
      case "label" -> KnowledgeStores.EntitySort.LABEL;
      default -> throw Problems.badField("sort", "must be one of interest, count, lastSeen, label");
    };
  }

  private static void checkPage(int page, int size) {
    if (page < 0 || page > 1_000_000) {
      throw Problems.badField("page", "must be between 0 and 1000000");
    }
    if (size < 1 || size > MAX_PAGE_SIZE) {
      throw Problems.badField("size", "must be between 1 and " + MAX_PAGE_SIZE);
    }
  }

  static String checked(String userId) {
    return Problems.checkText("userId", userId, SearchLog.MAX_ID);
  }
}
