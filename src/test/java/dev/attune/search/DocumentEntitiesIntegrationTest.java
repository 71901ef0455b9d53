package dev.attune.search;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.entity.Entity;
import dev.attune.entity.KnowledgeBase;
import dev.attune.entity.LinkerOverrides;
import dev.attune.retrieval.Document;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;

@AttuneIntegrationTest
class DocumentEntitiesIntegrationTest {

  @Autowired DocumentEntities entities;
  @Autowired KnowledgeBase knowledge;
  @Autowired LinkerOverrides overrides;

  @Test
  void aCorrectionOfTheLinkerHoldsForDocumentsThatWereReadBefore() {
    knowledge.importAll("test", Stream.of(
        new Entity("dov:lake", "Dovmirra", List.of(), "place", null, 0.6, List.of()),
        new Entity("dov:poet", "Dovmirra the Elder", List.of(), "person", null, 0.2, List.of())));
    Document document = new Document("dov-1", "At Dovmirra", "Nothing else.", null, null, Map.of());
    assertThat(entities.of(document)).containsExactly("dov:lake");
    overrides.put("dovmirra", "dov:poet");
    assertThat(entities.of(document)).containsExactly("dov:poet");
    overrides.remove("dovmirra");
    assertThat(entities.of(document)).containsExactly("dov:lake");
  }
}
