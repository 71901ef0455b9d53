package dev.attune.entity;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import dev.attune.AttuneIntegrationTest;
import dev.attune.datadir.DataDirectory;
import dev.attune.retrieval.Document;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.transaction.PlatformTransactionManager;

@AttuneIntegrationTest
class KnowledgeBaseIntegrationTest {

  @Autowired private StoredKnowledgeBase knowledge;
  @Autowired private EntityLinker linker;
  @Autowired private KnowledgeImport imports;
  @Autowired private EntityStore entities;
  @Autowired private DocumentEntityStore documents;
  @Autowired private EntityProperties properties;
  @Autowired private CommonWords words;
  @Autowired private PlatformTransactionManager transactions;

  private static Document film(String id, String title, int year, String director, String... actors) {
    return new Document(id, title, "text", null, null,
        Map.of("year", year, "director", director, "actors", List.of(actors), "genres", List.of("Kbitgenre"),
            "characters", List.of("Kbithero / Kbitmask (uncredited)", "Himself", "Police Officer #2", "Mother"),
            "votes", 100));
  }

  @TempDir Path directory;

  /** Reads everything from the database again, as a start without an image does. */
  private StoredKnowledgeBase reloaded() {
    return reloaded(directory.resolve(UUID.randomUUID().toString()));
  }

  private StoredKnowledgeBase reloaded(Path place) {
    StoredKnowledgeBase fresh = new StoredKnowledgeBase(
        entities, documents, properties, words, transactions, new DataDirectory(place));
    assertThat(fresh.loaded()).isFalse();
    fresh.load();
    assertThat(fresh.loaded()).isTrue();
    return fresh;
  }

  @Test
  void documentsNameEntitiesAndTheirRelations() {
    knowledge.replaceDocuments(List.of(film("kbit/1", "Kbitstorm", 2021, "Kbitdirector Ann", "Kbitactor Bo")),
        List.of());
    assertThat(knowledge.ofDocument("kbit/1")).containsExactly(
        new Entity.Neighbour("work:kbit=2F1", "title"),
        new Entity.Neighbour("person:kbitdirector-ann", "director"),
        new Entity.Neighbour("person:kbitactor-bo", "actors"),
        new Entity.Neighbour("character:kbithero", "characters"),
        new Entity.Neighbour("character:kbitmask", "characters"),
        new Entity.Neighbour("genre:kbitgenre", "genres"));
    assertThat(linker.link("kbitstorm by kbitdirector ann", LinkContext.NONE)).extracting(Mention::entityId)
        .containsExactly("work:kbit=2F1", "person:kbitdirector-ann");
    assertThat(knowledge.neighbours("person:kbitactor-bo")).extracting(Entity.Neighbour::id)
        .containsExactly("work:kbit=2F1");
    assertThat(reloaded().find("work:kbit=2F1")).isEqualTo(knowledge.find("work:kbit=2F1")).isPresent();

    knowledge.replaceDocuments(List.of(film("kbit/1", "Kbitcalm", 2021, "Kbitdirector Ann")), List.of());
    assertThat(knowledge.find("person:kbitactor-bo")).isEmpty();
    assertThat(knowledge.find("work:kbit=2F1")).get().extracting(Entity::label).isEqualTo("Kbitcalm");
    knowledge.replaceDocuments(List.of(), List.of("kbit/1"));
    assertThat(knowledge.find("work:kbit=2F1")).isEmpty();
    assertThat(knowledge.find("person:kbitdirector-ann")).isEmpty();
    assertThat(linker.link("kbitcalm", LinkContext.NONE)).isEmpty();
  }

  @Test
  void documentsMergeWithTheOnlyCuratedEntityOfThatNameAndType() {
    knowledge.replaceDocuments(List.of(
        film("kbm1", "Kbmwave", 2010, "Kbmdirector Ida"), film("kbm2", "Kbmwave", 1960, "Kbmdirector Ida")),
        List.of());
    // The curated entities come later: the outcome is the same.
    knowledge.importAll("test", Stream.of(
        new Entity("Kbm:Q1", "Kbmdirector Ida", List.of("Ida K."), "person", null, 0.4, List.of()),
        new Entity("Kbm:Q2", "Kbmwave", List.of(), "work", "2010 film", 0.4, List.of())));
    assertThat(knowledge.canonicalId("person:kbmdirector-ida")).isEqualTo("Kbm:Q1");
    assertThat(knowledge.ofDocument("kbm1")).extracting(Entity.Neighbour::id).contains("Kbm:Q1");
    // Two documents of that title: ambiguous.
    assertThat(knowledge.canonicalId("work:kbm1")).isEqualTo("work:kbm1");
    knowledge.replaceDocuments(List.of(), List.of("kbm2"));
    assertThat(knowledge.canonicalId("work:kbm1")).isEqualTo("Kbm:Q2");
    assertThat(knowledge.neighbours("Kbm:Q2")).extracting(Entity.Neighbour::id).contains("Kbm:Q1");
    assertThat(reloaded().canonicalId("work:kbm1")).isEqualTo("Kbm:Q2");
    // Another person of that name: ambiguous.
    knowledge.importAll("test", Stream.of(
        new Entity("Kbm:Q3", "Kbmdirector Ida", List.of(), "person", null, 0.4, List.of())));
    assertThat(knowledge.canonicalId("person:kbmdirector-ida")).isEqualTo("person:kbmdirector-ida");
    // Not of that year.
    knowledge.replaceDocuments(List.of(film("kbm1", "Kbmwave", 1960, "Kbmdirector Ida")), List.of());
    assertThat(knowledge.canonicalId("work:kbm1")).isEqualTo("work:kbm1");
  }

  @Test
  void whatDocumentsNameStaysWhenItsCuratedEntityGoes() {
    knowledge.replaceDocuments(List.of(film("kbd1", "Kbdwave", 2010, "Kbddirector Ida")), List.of());
    knowledge.importAll("kbd-one", Stream.of(
        new Entity("Kbd:Q1", "Kbddirector Ida", List.of("Kbdalias"), "person", null, 0.4, List.of())));
    knowledge.importAll("kbd-two", Stream.of(
        new Entity("Kbd:Q2", "Kbddirector Ida", List.of(), "person", null, 0.4, List.of()),
        new Entity("Kbd:Q3", "Kbdwave", List.of(), "work", "2010 film", 0.4, List.of())));
    assertThat(knowledge.canonicalId("person:kbddirector-ida")).as("two it may be").isEqualTo("person:kbddirector-ida");
    assertThat(knowledge.canonicalId("work:kbd1")).isEqualTo("Kbd:Q3");

    assertThat(knowledge.removeSource("kbd-two")).isEqualTo(2);
    assertThat(knowledge.canonicalId("person:kbddirector-ida")).as("one is left").isEqualTo("Kbd:Q1");
    assertThat(knowledge.ofDocument("kbd1")).extracting(Entity.Neighbour::id).contains("work:kbd1", "Kbd:Q1");
    assertThat(knowledge.removeImported("person:kbddirector-ida")).as("by the id that documents give it").isFalse();
    assertThat(knowledge.removeImported("Kbd:Q1")).isTrue();
    assertThat(linker.link("kbdalias", LinkContext.NONE)).isEmpty();
    assertThat(linker.link("kbddirector ida", LinkContext.NONE)).extracting(Mention::entityId)
        .containsExactly("person:kbddirector-ida");
    StoredKnowledgeBase reloaded = reloaded();
    assertThat(reloaded.find("Kbd:Q1")).isEmpty();
    assertThat(reloaded.canonicalId("person:kbddirector-ida")).isEqualTo("person:kbddirector-ida");
    assertThat(reloaded.size()).isEqualTo(knowledge.size());

    long version = knowledge.version();
    assertThat(knowledge.removeImported("Kbd:Q1")).isFalse();
    assertThat(knowledge.removeSource("kbd-two")).isZero();
    assertThat(knowledge.version()).as("nothing changed").isEqualTo(version);
  }

  @Test
  void anyOrderOfDocumentChangesEndsTheSame() {
    List<Document> films = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      films.add(film("kbo" + i, "Kbofilm " + i % 7, 1990 + i, "Kbodirector " + (char) ('A' + i % 3),
          "Kboactor " + (char) ('A' + i % 4), i % 2 == 0 ? "KBOACTOR Z" : "Kboactor Z"));
    }
    List<Map<String, Entity>> outcomes = new ArrayList<>();
    for (int seed = 0; seed < 4; seed++) {
      List<Document> shuffled = new ArrayList<>(films);
      Collections.shuffle(shuffled, new Random(seed));
      for (int i = 0; i < shuffled.size(); i += seed + 1) {
        knowledge.replaceDocuments(shuffled.subList(i, Math.min(shuffled.size(), i + seed + 1)), List.of());
      }
      Map<String, Entity> outcome = new HashMap<>();
      knowledge.complete("kbo", 1000).forEach(entity -> outcome.put(entity.id(), entity));
      outcomes.add(outcome);
      if (seed % 2 == 0) {
        knowledge.replaceDocuments(List.of(), films.stream().map(Document::id).toList());
        assertThat(knowledge.complete("kbo", 10)).isEmpty();
      }
    }
    assertThat(outcomes.getFirst()).hasSize(12 + 3 + 4 + 1);
    assertThat(outcomes).allMatch(outcome -> outcome.equals(outcomes.getFirst()));
  }

  @Test
  void theImageIsUsedWhileItIsCurrentAndNotAfterwards() throws Exception {
    knowledge.replaceDocuments(List.of(film("kbi1", "Kbistorm", 2021, "Kbidirector Ann")), List.of());
    Path place = directory.resolve("image");
    StoredKnowledgeBase first = reloaded(place);
    first.stop();
    Path file = place.resolve("knowledge").resolve("knowledge.image");
    FileTime written = Files.getLastModifiedTime(file);

    StoredKnowledgeBase second = reloaded(place);
    assertThat(second.find("work:kbi1")).isEqualTo(knowledge.find("work:kbi1")).isPresent();
    assertThat(second.stats()).usingRecursiveComparison().ignoringFields("bytes").isEqualTo(first.stats());
    second.stop();
    assertThat(Files.getLastModifiedTime(file)).as("nothing to write").isEqualTo(written);

    // Somebody else changes the database: seen by a start, and by the next write of a running service.
    knowledge.replaceDocuments(List.of(film("kbi2", "Kbicalm", 2021, "Kbidirector Ann")), List.of());
    assertThat(second.find("work:kbi2")).isEmpty();
    StoredKnowledgeBase third = reloaded(place);
    assertThat(third.find("work:kbi2")).isPresent();
    third.stop();
    second.replaceDocuments(List.of(film("kbi3", "Kbiwind", 2021, "Kbidirector Ann")), List.of());
    assertThat(second.find("work:kbi2")).isPresent();

    // A damaged file is made again.
    reloaded(place).stop();
    byte[] bytes = Files.readAllBytes(file);
    bytes[bytes.length / 2] ^= 1;
    Files.write(file, bytes);
    StoredKnowledgeBase fourth = reloaded(place);
    assertThat(fourth.find("work:kbi3")).isPresent();
    fourth.stop();
    assertThat(Files.readAllBytes(file)).isNotEqualTo(bytes);
    knowledge.replaceDocuments(List.of(), List.of("kbi1", "kbi2", "kbi3"));
    assertThat(knowledge.find("work:kbi3")).isEmpty();
  }

  @Test
  void importsNdjsonAndRejectsBadLinesOneByOne() throws IOException {
    String lines = """
        {"id":"kbn:1","label":"Kbnfirst","aliases":["Kbnalias"],"type":"place","prior":0.2}
        nonsense
        {"id":"kbn:2"}

        {"id":"kbn:3","label":"Kbnthird","prior":7}
        {"id":"kbn:4","label":"Kbnfourth","neighbours":[{"id":"kbn:1","relation":"near"}]}
        """;
    KnowledgeImport.Report report = imports.importNdjson(
        "test", new ByteArrayInputStream(lines.getBytes(StandardCharsets.UTF_8)));
    assertThat(report.received()).isEqualTo(5);
    assertThat(report.written()).isEqualTo(2);
    assertThat(report.errors()).extracting(KnowledgeImport.Rejection::index).containsExactly(1L, 2L, 3L);
    assertThat(report.errors()).extracting(KnowledgeImport.Rejection::reason)
        .satisfiesExactly(
            reason -> assertThat(reason).startsWith("not valid JSON at column 1"),
            reason -> assertThat(reason).isEqualTo("label is missing"),
            reason -> assertThat(reason).isEqualTo("prior must be a number from 0 to 1"));
    assertThat(report.errors()).extracting(KnowledgeImport.Rejection::id).containsExactly(null, "kbn:2", "kbn:3");
    assertThat(linker.link("kbnalias", LinkContext.NONE)).extracting(Mention::entityId).containsExactly("kbn:1");
    assertThat(knowledge.neighbours("kbn:1")).containsExactly(new Entity.Neighbour("kbn:4", "near"));
    assertThat(reloaded().find("kbn:1")).isEqualTo(knowledge.find("kbn:1"));
  }

  @Test
  void overridesWinAndAreDurable() {
    knowledge.importAll("test", Stream.of(
        new Entity("kbv:1", "Kbvthing", List.of(), "thing", null, 0.2, List.of())));
    knowledge.put("kbvthings", null);
    assertThat(linker.link("Kbvthing", LinkContext.NONE)).isEmpty();
    knowledge.put("what kbv said", "kbv:1");
    assertThat(linker.link("so what KBV said!", LinkContext.NONE)).extracting(Mention::entityId)
        .containsExactly("kbv:1");
    assertThat(reloaded().all()).isEqualTo(knowledge.all()).containsKey("what kbv said");
    assertThat(knowledge.remove("Kbvthing")).isTrue();
    assertThat(linker.link("Kbvthing", LinkContext.NONE)).hasSize(1);
    assertThat(knowledge.remove("Kbvthing")).isFalse();
    assertThatIllegalArgumentException().isThrownBy(() -> knowledge.put("kbv", "kbv:none"));
    knowledge.remove("what kbv said");
  }
}
