package dev.attune.entity;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;

class KnowledgeSnapshotTest {

  private static final CommonWords WORDS = new CommonWords();

  /** @param put id number to label; @param deleted id numbers */
  record Change(Map<Integer, String> put, List<Integer> deleted) {}

  @Property(tries = 200)
  void holdsWhatAMapHolds(@ForAll("changes") List<Change> changes) {
    KnowledgeSnapshot snapshot = KnowledgeSnapshot.empty(new SegmentBuilder(WORDS));
    Map<String, Entity> expected = new TreeMap<>();
    for (Change change : changes) {
      List<KnowledgeRow> rows = new ArrayList<>();
      change.put.forEach((number, label) -> rows.add(new KnowledgeRow(entity(number, label), "test", null)));
      List<String> gone = change.deleted.stream().map(number -> "é" + number).toList();
      snapshot = snapshot.with(rows, List.of()).with(List.of(), gone);
      rows.forEach(row -> expected.put(row.id(), row.entity()));
      gone.forEach(expected::remove);
    }
    Map<String, Entity> actual = new HashMap<>();
    for (int i = 0; i < 20; i++) {
      Entity entity = snapshot.find("é" + i);
      if (entity != null) {
        actual.put(entity.id(), entity);
      }
    }
    assertThat(actual).isEqualTo(expected);
    assertThat(snapshot.size()).isEqualTo(expected.size());
    assertThat(snapshot.complete("du", 100)).containsExactlyInAnyOrderElementsOf(
        expected.values().stream().filter(entity -> TextTokens.nameKey(entity.label()).startsWith("du")).toList());
  }

  private static Entity entity(int number, String label) {
    return new Entity("é" + number, label, List.of(label + " alias"), number % 2 == 0 ? "work" : "person",
        number % 3 == 0 ? null : "about " + label, number / 32f, List.of(new Entity.Neighbour("x" + number, "r")));
  }

  @Provide
  Arbitrary<List<Change>> changes() {
    Arbitrary<Integer> number = Arbitraries.integers().between(0, 19);
    Arbitrary<String> label = Arbitraries.of("Dune", "Düne", "Dual", "Étoile", "東京", "dunes", "");
    return Combinators.combine(Arbitraries.maps(number, label).ofMaxSize(8), number.list().ofMaxSize(4))
        .as(Change::new).list().ofMinSize(1).ofMaxSize(8);
  }

  @Test
  void mergesSmallSegmentsAndKeepsLargeOnes() {
    KnowledgeSnapshot snapshot = KnowledgeSnapshot.empty(new SegmentBuilder(WORDS));
    int number = 0;
    for (int size : new int[] {20_000, 500, 500, 500, 3_000, 10}) {
      List<KnowledgeRow> rows = new ArrayList<>();
      for (int i = 0; i < size; i++) {
        rows.add(new KnowledgeRow(entity(number, "Name" + number), "test", null));
        number++;
      }
      snapshot = snapshot.with(rows, List.of());
    }
    assertThat(snapshot.size()).isEqualTo(number);
    assertThat(snapshot.parts()).hasSizeLessThanOrEqualTo(3);
  }

  @Test
  void neighboursGoBothWaysAndFollowRedirects() {
    Entity film = new Entity("work:1", "Dune", List.of(), "work", null, 0.6,
        List.of(new Entity.Neighbour("person:denis", "director"), new Entity.Neighbour("person:zendaya", "actors")));
    Entity denis = new Entity("person:denis", "Denis Villeneuve", List.of(), "person", null, 0.3, List.of());
    Entity zendaya = new Entity("person:zendaya", "Zendaya", List.of(), "person", null, 0.3, List.of());
    Entity curated = new Entity("Q1", "Denis Villeneuve", List.of("Villeneuve"), "person", null, 0.5,
        List.of(new Entity.Neighbour("Q2", "nationality")));
    Entity canada = new Entity("Q2", "Canada", List.of(), "place", null, 0.9, List.of());
    KnowledgeSnapshot snapshot = KnowledgeSnapshot.empty(new SegmentBuilder(WORDS)).with(List.of(
        new KnowledgeRow(film, KnowledgeRow.DOCUMENTS, null), new KnowledgeRow(denis, KnowledgeRow.DOCUMENTS, "Q1"),
        new KnowledgeRow(zendaya, KnowledgeRow.DOCUMENTS, null)), List.of())
        .with(List.of(new KnowledgeRow(curated, "wikidata", null), new KnowledgeRow(canada, "wikidata", null)),
            List.of());
    assertThat(snapshot.neighbours("work:1", 10))
        .containsExactly(new Entity.Neighbour("Q1", "director"), new Entity.Neighbour("person:zendaya", "actors"));
    assertThat(snapshot.neighbours("person:denis", 10)).isEqualTo(snapshot.neighbours("Q1", 10))
        .extracting(Entity.Neighbour::id).containsExactlyInAnyOrder("work:1", "Q2");
    assertThat(snapshot.find("person:denis")).isEqualTo(curated);
    assertThat(snapshot.size()).isEqualTo(4);
  }

  @Test
  void whatWasRemovedTakesNoRoom() {
    List<KnowledgeRow> rows = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      rows.add(new KnowledgeRow(entity(i, "Label " + i), i < 15 ? "wikidata" : "test", null));
    }
    KnowledgeSnapshot all = KnowledgeSnapshot.empty(new SegmentBuilder(WORDS)).with(rows, List.of());
    KnowledgeSnapshot few =
        all.with(List.of(), rows.subList(0, 15).stream().map(KnowledgeRow::id).toList());
    KnowledgeSnapshot fresh =
        KnowledgeSnapshot.empty(new SegmentBuilder(WORDS)).with(rows.subList(15, 100), List.of());
    assertThat(few.stats()).isEqualTo(fresh.stats());
    assertThat(few.stats().aliases()).isLessThan(all.stats().aliases());
  }
}
