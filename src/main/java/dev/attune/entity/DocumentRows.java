package dev.attune.entity;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Rows of the knowledge base for what documents name. They are a function of the documents and the curated entities
 * alone, so that any order of changes ends the same.
 *
 * <p>An entity of a document is taken to be a curated one if exactly one of these has the same type and the same label
 * (not alias). A document's own entity must also be the only document with that title, and years in the two
 * descriptions may differ by one at most.
 */
final class DocumentRows {

  private static final Pattern YEAR = Pattern.compile("\\b(?:18|19|20)\\d\\d\\b");

  private final DocumentEntityStore documents;

  DocumentRows(DocumentEntityStore documents) {
    this.documents = documents;
  }

  /** Rows for all documents, for the first load. */
  List<KnowledgeRow> all(KnowledgeSnapshot curated) {
    return all(documents.named(null).values(), documents.read(null).values(), curated);
  }

  static List<KnowledgeRow> all(Collection<DocumentEntityStore.Named> named,
      Collection<List<DocumentEntity>> byDocument, KnowledgeSnapshot curated) {
    List<KnowledgeRow> rows = new ArrayList<>();
    named.forEach(value -> rows.add(row(value, curated)));
    Map<String, Integer> titles = new HashMap<>();
    byDocument.forEach(values -> values.stream().filter(DocumentEntity::main)
        .forEach(main -> titles.merge(main.type() + ' ' + main.nameKey(), 1, Integer::sum)));
    for (List<DocumentEntity> values : byDocument) {
      KnowledgeRow main = mainRow(values);
      if (main != null) {
        int same = titles.get(main.entity().type() + ' ' + TextTokens.nameKey(main.entity().label()));
        rows.add(redirected(main, same == 1 ? curated(main.entity(), curated) : null));
      }
    }
    return rows;
  }

  /**
   * State after some documents changed.
   *
   * @param touched ids of entities that the documents named before or name now
   * @param added rows of the documents that exist now
   */
  KnowledgeSnapshot apply(KnowledgeSnapshot before, Set<String> touched, List<DocumentEntity> added) {
    Map<String, DocumentEntityStore.Named> named = documents.named(touched);
    List<KnowledgeRow> put = new ArrayList<>();
    named.values().forEach(value -> put.add(row(value, before)));
    Map<String, List<DocumentEntity>> byDocument = new HashMap<>();
    added.forEach(row -> byDocument.computeIfAbsent(row.documentId(), id -> new ArrayList<>()).add(row));
    Set<String> titles = new HashSet<>();
    for (List<DocumentEntity> values : byDocument.values()) {
      KnowledgeRow main = mainRow(values);
      if (main != null) {
        put.add(main);
      }
    }
    put.forEach(row -> titles.add(TextTokens.nameKey(row.entity().label())));
    Set<String> gone = new HashSet<>(touched);
    put.forEach(row -> gone.remove(row.id()));
    for (String id : touched) {
      KnowledgeSnapshot.Found old = before.locate(id);
      if (old != null) {
        titles.add(TextTokens.nameKey(old.part().segment().label(old.row())));
      }
    }
    KnowledgeSnapshot changed = before.with(put, gone);
    return changed.with(resolvedAgain(titles, changed), List.of());
  }

  /** Rows from documents with one of the names whose redirect is not what it should be now. */
  List<KnowledgeRow> resolvedAgain(Set<String> nameKeys, KnowledgeSnapshot state) {
    List<KnowledgeRow> changed = new ArrayList<>();
    for (String key : nameKeys) {
      List<KnowledgeRow> same = state.named(key);
      for (KnowledgeRow row : same) {
        if (row.fromDocuments()) {
          boolean main = isMain(row);
          boolean alone = !main || same.stream()
              .filter(other -> other.fromDocuments() && isMain(other) && other.entity().type().equals(
                  row.entity().type())).count() == 1;
          String redirect = alone ? curated(row.entity(), same) : null;
          if (!Objects.equals(redirect, row.redirect())) {
            changed.add(redirected(row, redirect));
          }
        }
      }
    }
    return changed;
  }

  /** A document's own entity is the one that is not called by its name. */
  private static boolean isMain(KnowledgeRow row) {
    String key = TextTokens.nameKey(row.entity().label()).replace(' ', '-');
    return !row.id().equals(row.entity().type() + ":" + key);
  }

  private static KnowledgeRow row(DocumentEntityStore.Named named, KnowledgeSnapshot state) {
    double prior = Math.min(0.9, 0.2 + 0.08 * Math.log(1 + named.documents()) / Math.log(2));
    Entity entity = new Entity(named.entityId(), named.label(), List.of(), named.type(), null, prior, List.of());
    return new KnowledgeRow(entity, KnowledgeRow.DOCUMENTS, curated(entity, state));
  }

  static @Nullable KnowledgeRow mainRow(List<DocumentEntity> values) {
    DocumentEntity main = null;
    List<Entity.Neighbour> neighbours = new ArrayList<>();
    for (DocumentEntity value : values) {
      if (value.main()) {
        main = value;
      } else {
        neighbours.add(new Entity.Neighbour(value.entityId(), value.relation()));
      }
    }
    if (main == null) {
      return null;
    }
    Double popularity = main.popularity();
    double prior = popularity == null ? 0.3 : Math.min(0.9, 0.1 + 0.07 * Math.log1p(Math.max(0, popularity)));
    return new KnowledgeRow(
        new Entity(main.entityId(), main.label(), List.of(), main.type(), main.description(), prior, neighbours),
        KnowledgeRow.DOCUMENTS, null);
  }

  private static KnowledgeRow redirected(KnowledgeRow row, @Nullable String redirect) {
    return new KnowledgeRow(row.entity(), row.source(), redirect);
  }

  private static @Nullable String curated(Entity entity, KnowledgeSnapshot state) {
    return curated(entity, state.named(TextTokens.nameKey(entity.label())));
  }

  private static @Nullable String curated(Entity entity, List<KnowledgeRow> sameName) {
    KnowledgeRow only = null;
    for (KnowledgeRow other : sameName) {
      if (!other.fromDocuments() && other.entity().type().equals(entity.type())) {
        if (only != null) {
          return null;
        }
        only = other;
      }
    }
    return only == null || !sameYear(entity.description(), only.entity().description()) ? null : only.id();
  }

  private static boolean sameYear(@Nullable String a, @Nullable String b) {
    Integer one = year(a);
    Integer other = year(b);
    return one == null || other == null || Math.abs(one - other) <= 1;
  }

  private static @Nullable Integer year(@Nullable String description) {
    Matcher matcher = YEAR.matcher(description == null ? "" : description);
    return matcher.find() ? Integer.valueOf(matcher.group()) : null;
  }
}
