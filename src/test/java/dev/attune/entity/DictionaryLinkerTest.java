package dev.attune.entity;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.springframework.boot.context.properties.bind.Binder;
import org.springframework.boot.context.properties.source.MapConfigurationPropertySource;

class DictionaryLinkerTest {

  private static final CommonWords WORDS = new CommonWords();
  private static final EntityProperties PROPERTIES =
      new Binder(new MapConfigurationPropertySource(Map.of())).bindOrCreate("attune.entity", EntityProperties.class);

  private final List<KnowledgeRow> rows = new ArrayList<>();

  private void add(String id, String label, String type, String description, double prior, String... neighbours) {
    List<Entity.Neighbour> related = new ArrayList<>();
    for (String neighbour : neighbours) {
      related.add(new Entity.Neighbour(neighbour, "related"));
    }
    rows.add(new KnowledgeRow(new Entity(id, label, List.of(), type, description, prior, related), "test", null));
  }

  DictionaryLinkerTest() {
    add("up", "Up", "work", "2009, Pete Docter, Animation", 0.7, "docter");
    add("it", "It", "work", "2017, Andy Muschietti, Horror", 0.7, "skarsgard");
    add("her", "Her", "work", "2013, Spike Jonze, Romance", 0.6, "jonze");
    add("mother", "Mother", "character", null, 0.3);
    add("game", "The Game", "work", "1997, David Fincher, Thriller", 0.5, "fincher");
    add("dune21", "Dune", "work", "2021, Denis Villeneuve, Science Fiction", 0.7, "villeneuve");
    add("dune84", "Dune", "work", "1984, David Lynch, Science Fiction", 0.5, "lynch");
    add("villeneuve", "Denis Villeneuve", "person", null, 0.5);
    add("lynch", "David Lynch", "person", null, 0.6);
    add("jonze", "Spike Jonze", "person", null, 0.5);
    add("fincher", "David Fincher", "person", null, 0.5);
    add("inception", "Inception", "work", "2010, Christopher Nolan", 0.8);
    add("knight", "The Dark Knight", "work", "2008, Christopher Nolan", 0.8);
    add("drama", "Drama", "genre", null, 0.8);
    add("amelie", "Amélie", "work", "2001, Jean-Pierre Jeunet", 0.5);
  }

  private List<String> link(String text, LinkContext context) {
    KnowledgeSnapshot snapshot =
        KnowledgeSnapshot.empty(new SegmentBuilder(WORDS)).with(rows, List.of());
    return new DictionaryLinker(() -> snapshot, WORDS, PROPERTIES).link(text, context).stream()
        .map(Mention::entityId).toList();
  }

  private List<String> link(String text) {
    return link(text, LinkContext.NONE);
  }

  @Test
  void ordinaryWordsAreNoTitles() {
    assertThat(link("He gave it up for her mother and the game.")).isEmpty();
    assertThat(link("it grew up")).isEmpty();
    assertThat(link("A boy looks up to his mother, but it is too late to tell her.")).isEmpty();
  }

  @Test
  void evidenceMakesThemTitles() {
    assertThat(link("up")).containsExactly("up");
    assertThat(link("Her")).containsExactly("her");
    assertThat(link("her spike jonze movie", LinkContext.NONE)).contains("jonze", "her");
    assertThat(link("the game fincher film", new LinkContext(Set.of("fincher"), Map.of()))).contains("game");
  }

  @Test
  void aNameWithinALongerOneIsMeantWhereTheLongerOneIsNot() {
    add("longer", "To Drama", "work", null, 0.1);
    assertThat(link("listen to drama now")).containsExactly("drama");
    assertThat(link("to drama")).as("the whole query").containsExactly("longer");
  }

  @Test
  void pluralsAndAcronymsAreNames() {
    add("film", "movie", "genre", null, 0.8);
    add("tomato", "tomato", "genre", null, 0.8);
    rows.add(new KnowledgeRow(
        new Entity("uk", "United Kingdom", List.of("UK", "WHO"), "place", null, 0.8, List.of()), "test", null));
    assertThat(link("movies")).containsExactly("film");
    assertThat(link("tomatoes")).containsExactly("tomato");
    assertThat(link("UK")).containsExactly("uk");
    assertThat(link("who")).as("an ordinary word").isEmpty();
  }

  @Test
  void tellingNamesLinkAnywhere() {
    assertThat(link("inception explained")).containsExactly("inception");
    assertThat(link("films like the dark knight")).containsExactly("knight");
    assertThat(link("dark knight trailer")).containsExactly("knight");
    assertThat(link("drama movies")).containsExactly("drama");
    assertThat(link("amelie soundtrack")).containsExactly("amelie");
  }

  @Test
  void contextChoosesAmongNamesakes() {
    assertThat(link("dune movie")).containsExactly("dune21");
    assertThat(link("dune david lynch")).containsExactly("dune84", "lynch");
    assertThat(link("dune 1984")).containsExactly("dune84");
    assertThat(link("dune movie", new LinkContext(Set.of("lynch"), Map.of()))).containsExactly("dune84");
  }

  @Test
  void theUserPriorIsBounded() {
    LinkContext fan = new LinkContext(Set.of(), Map.of("it", 1_000_000, "dune84", 1_000_000));
    assertThat(link("he gave it away", fan)).isEmpty();
    assertThat(link("dune movie", fan)).containsExactly("dune84");
    assertThat(link("dune villeneuve", fan)).containsExactly("dune21", "villeneuve");
  }

  @Test
  void oneWrongLetterInAQueryIsForgiven() {
    assertThat(link("incepton movie")).containsExactly("inception");
    assertThat(link("davdi lynch")).containsExactly("lynch");
    assertThat(link("dennis villeneuve films")).containsExactly("villeneuve");
    assertThat(link("nothing but incepton is what all of them talked about when they were asked by us")).isEmpty();
    assertThat(link("interception movie")).isEmpty();
  }

  @Test
  void twoWrongLettersAreForgivenWhereNothingElseIsFound() {
    assertThat(link("incaptoin")).as("the whole query").containsExactly("inception");
    assertThat(link("incaptoin movie")).as("beside a word that speaks for its type").containsExactly("inception");
    assertThat(link("incaptoin for six people")).as("not in other words").isEmpty();
    assertThat(link("icneptoni")).as("a wrong beginning").isEmpty();
    assertThat(link("conception")).as("a word").isEmpty();
  }

  @Test
  void adjectivesNameTheCountryUnlessTheLanguageIsMeant() {
    add("france", "France", "place", null, 0.7);
    add("french", "French", "language", null, 0.6);
    add("cuisine", "French cuisine", "thing", null, 0.2);
    add("irish", "Irish people", "ethnicity", null, 0.4);
    assertThat(link("french bulldog")).containsExactly("france");
    assertThat(link("Frenchmen")).containsExactly("france");
    assertThat(link("french dictionary")).containsExactly("french");
    assertThat(link("learn french")).containsExactly("french");
    assertThat(link("in French")).containsExactly("french");
    assertThat(link("french food")).containsExactly("cuisine");
    assertThat(link("irish")).containsExactly("irish");
  }

  @Test
  void twoLettersAreNoOrdinaryWord() {
    rows.add(new KnowledgeRow(
        new Entity("calcium", "calcium", List.of("Ca"), "substance", null, 0.2, List.of()), "test", null));
    assertThat(link("livermore ca church")).isEmpty();
    assertThat(link("calcium in milk")).containsExactly("calcium");
    assertThat(link("ca")).as("the whole query").containsExactly("calcium");
  }

  @Test
  void aGivenNameIsEnoughForTheWholeQueryWhereFewHaveIt() {
    add("jolie", "Angelina Jolie", "person", null, 0.4, "pitt");
    add("pitt", "Brad Pitt", "person", null, 0.4);
    for (int i = 0; i < 4; i++) {
      add("k" + i, "Kevin Surname" + i, "person", null, 0.4);
    }
    assertThat(link("angelina")).containsExactly("jolie");
    assertThat(link("her sister angelina")).isEmpty();
    assertThat(link("kevin")).isEmpty();
  }

  @Test
  void wordsRunTogetherAreLinkedWhereTheyAre() {
    KnowledgeSnapshot snapshot = KnowledgeSnapshot.empty(new SegmentBuilder(WORDS)).with(rows, List.of());
    Mention mention = new DictionaryLinker(() -> snapshot, WORDS, PROPERTIES)
        .link("😀 darkknightmovie", LinkContext.NONE).getFirst();
    assertThat(mention.entityId()).isEqualTo("knight");
    assertThat(mention.surface()).isEqualTo("darkknight");
    assertThat(mention.start()).isEqualTo(3);
  }

  @Test
  void aTellingPartOfANameIsEnoughWhereNobodyElseHasIt() {
    assertThat(link("villeneuve")).containsExactly("villeneuve");
    assertThat(link("I like what Villeneuve did there")).containsExactly("villeneuve");
    assertThat(link("I like what villeneuve did there")).isEmpty();
    assertThat(link("david")).isEmpty();
  }

  @Test
  void takesAnyText() {
    assertThat(link("")).isEmpty();
    assertThat(link("🎬🍿 \ud83d")).isEmpty();
    assertThat(link("🎬 Inception 🍿")).containsExactly("inception");
    String large = "The Dark Knight rises above it all. ".repeat(30_000);
    assertThat(large.length()).isGreaterThan(1_000_000);
    assertThat(link(large)).hasSize(30_000).containsOnly("knight");
  }

  @Test
  void offsetsAreUtf16() {
    KnowledgeSnapshot snapshot = KnowledgeSnapshot.empty(new SegmentBuilder(WORDS)).with(rows, List.of());
    Mention mention = new DictionaryLinker(() -> snapshot, WORDS, PROPERTIES)
        .link("😀 watch Amélie's story", LinkContext.NONE).getFirst();
    assertThat(mention.start()).isEqualTo(9);
    assertThat(mention.surface()).isEqualTo("Amélie's");
    assertThat(mention.confidence()).isBetween(PROPERTIES.nilThreshold(), 1.0);
  }
}
