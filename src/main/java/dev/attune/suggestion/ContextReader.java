package dev.attune.suggestion;

import dev.attune.entity.Entity;
import dev.attune.entity.EntityLinker;
import dev.attune.entity.KnowledgeBase;
import dev.attune.entity.LinkContext;
import dev.attune.knowledge.UserKnowledge;
import dev.attune.knowledge.UserKnowledge.SelectedEntity;
import dev.attune.knowledge.UserKnowledge.SelectionContext;
import dev.attune.knowledge.UserSettings;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.searchlog.LoggedEvent.PageObject;
import dev.attune.searchlog.LoggedQuery;
import dev.attune.searchlog.SearchLog;
import dev.attune.searchlog.SearchLog.SessionItem;
import dev.attune.suggestion.Suggester.Page;
import dev.attune.suggestion.Suggester.SuggestionRequest;
import dev.attune.suggestion.SuggestionLadder.Rung;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;

/** Gathers what is known around a request: page, session, the user's matching entities, entities of the context. */
@Component
class ContextReader {

  private static final int RECENT = 20;
  private static final int SESSION = 6;
  private static final int PAGE_TEXT = 1_000;

  /** Entities of the context count less than those that the user cares about. */
  private static final double CONTEXT_RELEVANCE = 0.5;

  private final DocumentIndex index;
  private final SearchLog searchLog;
  private final UserKnowledge knowledge;
  private final KnowledgeBase knowledgeBase;
  private final EntityLinker linker;
  private final SuggestionProperties properties;

  ContextReader(
      DocumentIndex index,
      SearchLog searchLog,
      UserKnowledge knowledge,
      KnowledgeBase knowledgeBase,
      EntityLinker linker,
      SuggestionProperties properties) {
    this.index = index;
    this.searchLog = searchLog;
    this.knowledge = knowledge;
    this.knowledgeBase = knowledgeBase;
    this.linker = linker;
    this.properties = properties;
  }

  /** False shortly after the start: contexts have no entities then. */
  boolean entitiesLoaded() {
    return knowledgeBase.loaded();
  }

  SuggestionContext read(SuggestionRequest request, Rung rung, Instant now) {
    String query = request.query() == null ? "" : request.query().strip();
    Page page = request.page();
    if (page == null && request.documentId() != null) {
      page = index.find(request.documentId()).map(d -> new Page(d.title(), d.text())).orElse(null);
    }
    UserSettings settings =
        request.userId() == null || rung == Rung.QUERY ? null : knowledge.settings(request.userId());
    String userId = settings != null && settings.personalization() ? request.userId() : null;
    Set<String> hidden = new HashSet<>(knowledge.sensitiveTypes());
    if (userId != null && settings != null) {
      hidden.removeAll(settings.sensitive());
    }

    List<String> recent = List.of();
    List<String> session = List.of();
    if (userId != null) {
      recent = searchLog.recentQueries(userId, RECENT).stream().map(LoggedQuery::text).distinct().toList();
      session = request.sessionId() == null ? List.of() : session(userId, request.sessionId());
    }
    List<String> history = rung == Rung.HISTORY ? recent : List.of();
    List<String> around = Stream.concat(history.reversed().stream(), session.stream()).toList();
    List<String> named = named(query, page, request.documentId(), around);
    List<Focus> focuses = new ArrayList<>();
    if (userId != null && !request.modes().isEmpty() && rung.compareTo(Rung.STORE) >= 0) {
      focuses.addAll(own(userId, request, query, page, named, now));
    }
    focuses.addAll(around(named, query));
    return new SuggestionContext(
        userId, query, page, distinct(focuses, hidden), recent, session, history, hidden, now);
  }

  private List<String> session(String userId, String sessionId) {
    return searchLog.session(userId, sessionId, SESSION).stream()
        .map(ContextReader::text)
        .filter(Objects::nonNull)
        .toList();
  }

  private static @Nullable String text(SessionItem item) {
    return item.query()
        .map(LoggedQuery::text)
        .or(() -> item.event().map(event -> event.object()).map(PageObject::title))
        .orElse(null);
  }

  /** Entities that query, page and session name, in this order. */
  private List<String> named(String query, @Nullable Page page, @Nullable String documentId, List<String> session) {
    Set<String> ids = new LinkedHashSet<>(link(query));
    if (page != null && documentId != null) {
      knowledgeBase.ofDocument(documentId).stream().limit(1).forEach(n -> ids.add(n.id()));
    }
    if (page != null) {
      ids.addAll(link(page.title()));
      ids.addAll(link(page.text().substring(0, Math.min(PAGE_TEXT, page.text().length()))));
    }
    session.reversed().forEach(text -> ids.addAll(link(text)));
    return List.copyOf(ids);
  }

  private List<String> link(String text) {
    return text.isBlank()
        ? List.of()
        : linker.link(text, LinkContext.NONE).stream().map(mention -> mention.entityId()).toList();
  }

  private List<Focus> own(
      String userId, SuggestionRequest request, String query, @Nullable Page page, List<String> named, Instant now) {
    String pageText =
        page == null ? null : page.title() + "\n" + page.text().substring(0, Math.min(PAGE_TEXT, page.text().length()));
    SelectionContext context = new SelectionContext(query.isEmpty() ? null : query, pageText, named, now);
    List<SelectedEntity> selected = knowledge.select(userId, context, request.modes(), properties.entities());
    Map<String, Entity> via =
        knowledgeBase.findAll(selected.stream().map(SelectedEntity::via).filter(Objects::nonNull).toList());
    return selected.stream()
        .map(e -> {
          Entity from = e.via() == null ? null : via.get(e.via());
          return new Focus(
              e.entityId(), e.label(), e.type(), e.mode(), e.relevance(), e.count(), e.lastSeen(),
              from == null ? null : from.label(), e.eventIds());
        })
        .toList();
  }

  /** Entities of the context itself and, one step on, those related to them. */
  private List<Focus> around(List<String> named, String query) {
    Map<String, Entity> entities = knowledgeBase.findAll(named);
    List<Focus> focuses = new ArrayList<>();
    for (String id : named) {
      Entity entity = entities.get(id);
      if (entity != null && !QueryText.mentions(query, entity.label())) {
        focuses.add(focus(entity, CONTEXT_RELEVANCE, null));
      }
    }
    for (String id : named.subList(0, Math.min(3, named.size()))) {
      Entity from = entities.get(id);
      List<String> near = knowledgeBase.neighbours(id).stream().limit(4).map(Entity.Neighbour::id).toList();
      Map<String, Entity> found = knowledgeBase.findAll(near);
      near.stream().map(found::get).filter(Objects::nonNull)
          .forEach(e -> focuses.add(focus(e, CONTEXT_RELEVANCE / 2, from == null ? null : from.label())));
    }
    return focuses;
  }

  private static Focus focus(Entity entity, double relevance, @Nullable String via) {
    return new Focus(entity.id(), entity.label(), entity.type(), null, relevance, 0, null, via, List.of());
  }

  private List<Focus> distinct(List<Focus> focuses, Set<String> hidden) {
    Map<String, Focus> kept = new LinkedHashMap<>();
    for (Focus focus : focuses) {
      if (!hidden.contains(focus.type()) && !QueryText.words(focus.label()).isEmpty()) {
        kept.putIfAbsent(QueryText.normalize(focus.label()), focus);
      }
    }
    return kept.values().stream().limit(properties.entities()).toList();
  }

  /** Texts that must not be suggested again. */
  static List<String> asked(SuggestionContext context) {
    Page page = context.page();
    List<String> current = List.of(context.query(), page == null ? "" : page.title());
    return Stream.of(current, context.session(), context.recent())
        .flatMap(List::stream)
        .filter(text -> !text.isBlank())
        .distinct()
        .toList();
  }
}
