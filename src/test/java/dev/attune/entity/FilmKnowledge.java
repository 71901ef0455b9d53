package dev.attune.entity;

import dev.attune.demo.MovieCorpus;
import dev.attune.retrieval.Document;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.springframework.boot.context.properties.bind.Binder;
import org.springframework.boot.context.properties.source.MapConfigurationPropertySource;
import tools.jackson.databind.json.JsonMapper;

/** The demo's knowledge base without a database: the bundled entities and those of all films. */
final class FilmKnowledge {

  static final CommonWords WORDS = new CommonWords();
  static final EntityProperties PROPERTIES =
      new Binder(new MapConfigurationPropertySource(Map.of())).bindOrCreate("attune.entity", EntityProperties.class);

  private FilmKnowledge() {}

  static List<Document> films() {
    List<Document> films = new ArrayList<>();
    try (Stream<Document> all = MovieCorpus.read()) {
      all.forEach(films::add);
    }
    return films;
  }

  static KnowledgeSnapshot load() {
    List<KnowledgeRow> rows = new ArrayList<>();
    JsonMapper json = JsonMapper.builder().build();
    BundledFile.forEachLine(KnowledgeImport.BUNDLED, line ->
        rows.add(new KnowledgeRow(KnowledgeImport.entity(json.readTree(line)), "wikidata", null)));
    KnowledgeSnapshot curated = KnowledgeSnapshot.empty(new SegmentBuilder(WORDS)).with(rows, List.of());
    DocumentFieldReader reader = new DocumentFieldReader(PROPERTIES, WORDS);
    Map<String, List<DocumentEntity>> byDocument = new HashMap<>();
    Map<String, DocumentEntityStore.Named> named = new HashMap<>();
    for (Document film : films()) {
      List<DocumentEntity> values = reader.read(film);
      byDocument.put(film.id(), values);
      for (DocumentEntity value : values) {
        if (!value.main()) {
          named.merge(value.entityId(), new DocumentEntityStore.Named(value.entityId(), value.type(), value.label(), 1),
              (a, b) -> new DocumentEntityStore.Named(a.entityId(), a.type(), a.label(), a.documents() + 1));
        }
      }
    }
    return curated.with(DocumentRows.all(named.values(), byDocument.values(), curated), List.of());
  }
}
