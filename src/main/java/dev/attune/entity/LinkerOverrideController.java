package dev.attune.entity;

import dev.attune.web.PagedList;
import dev.attune.web.Problems;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.tags.Tag;
import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import jakarta.validation.constraints.Size;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
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
import tools.jackson.databind.JsonNode;

/** What an administrator fixes about names. */
@RestController
@RequestMapping("/api/v1/admin/linker/overrides")
@Tag(name = "Administration")
class LinkerOverrideController {

  private static final int MAX_ALIAS = 200;

  private final LinkerOverrides overrides;
  private final KnowledgeBase knowledge;

  LinkerOverrideController(LinkerOverrides overrides, KnowledgeBase knowledge) {
    this.overrides = overrides;
    this.knowledge = knowledge;
  }

  /**
   * What a name means, whatever the linker would say.
   *
   * @param alias as names are compared: lower case, without accents, punctuation and plural
   * @param entityId null: the name is never linked
   * @param label of the entity; null without one, and for one that is gone, whose name is not linked
   */
  record FixedName(String alias, @Nullable String entityId, @Nullable String label, @Nullable String type) {}

  /** The body of a change; the field has to be there, also when it is null. */
  record Target(@Nullable JsonNode entityId) {}

  @GetMapping
  @Operation(summary = "Names whose meaning is fixed, in alphabetical order; q: part of the name")
  PagedList<FixedName> list(
      @RequestParam(required = false) @Size(max = MAX_ALIAS) @Nullable String q,
      @RequestParam(defaultValue = "0") @Min(0) @Max(1_000_000) int page,
      @RequestParam(defaultValue = "50") @Min(1) @Max(500) int size) {
    String part = q == null ? "" : overrides.normalised(q);
    Map<String, Optional<String>> sorted = new TreeMap<>(overrides.all());
    sorted.keySet().removeIf(alias -> !alias.contains(part));
    List<FixedName> items =
        sorted.entrySet().stream()
            .skip((long) page * size)
            .limit(size)
            .map(entry -> fixedName(entry.getKey(), entry.getValue().orElse(null)))
            .toList();
    return new PagedList<>(sorted.size(), page, size, items);
  }

  @PutMapping("/{alias}")
  @Operation(
      summary = "Fix what a name means, for everybody",
      description =
          "{\"entityId\": \"…\"} links the name to that entity in every text, {\"entityId\": null} never links it; "
              + "it replaces what was fixed before. Names are compared as the linker compares them; write a space for "
              + "a punctuation mark that a path cannot hold. Holds at once for what is linked from now on. User stores "
              + "keep what was linked before until POST /api/v1/admin/jobs/rebuild computes them again.")
  FixedName put(@PathVariable String alias, @RequestBody Target body) {
    String name = name(alias);
    JsonNode target = body.entityId();
    if (target == null) {
      throw Problems.badField("entityId", "is missing; null means that the name is never linked");
    }
    if (!target.isNull() && !target.isString()) {
      throw Problems.badField("entityId", "must be the id of an entity or null");
    }
    String entityId = target.isNull() ? null : target.asString();
    if (entityId != null && knowledge.find(entityId).isEmpty()) {
      throw Problems.badField("entityId", "names no entity of the knowledge base");
    }
    overrides.put(name, entityId);
    return fixedName(name, entityId);
  }

  @DeleteMapping("/{alias}")
  @ResponseStatus(HttpStatus.NO_CONTENT)
  @Operation(summary = "Leave a name to the linker again")
  void remove(@PathVariable String alias) {
    if (!overrides.remove(name(alias))) {
      throw Problems.of(HttpStatus.NOT_FOUND, "The meaning of this name is not fixed.");
    }
  }

  private String name(String alias) {
    String name = overrides.normalised(Problems.checkText("alias", alias, MAX_ALIAS));
    if (name.isEmpty()) {
      throw Problems.badField("alias", "must have a letter or a digit");
    }
    return name;
  }

  private FixedName fixedName(String alias, @Nullable String entityId) {
    Entity entity = entityId == null ? null : knowledge.find(entityId).orElse(null);
    return new FixedName(
        alias, entityId, entity == null ? null : entity.label(), entity == null ? null : entity.type());
  }
}
