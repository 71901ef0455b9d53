package dev.attune.entity;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class WordSplitterTest {

  private static final CommonWords WORDS = new CommonWords();
  private static final List<String> NAMES =
      List.of("USA", "North Carolina", "El Paso", "Inception", "Harley Davidson", "Myrtle Beach", "Villeneuve", "ER");
  private static final KnowledgeSnapshot SNAPSHOT = snapshot();

  private static KnowledgeSnapshot snapshot() {
    List<KnowledgeRow> rows = new ArrayList<>();
    for (String name : NAMES) {
      double prior = name.equals("ER") ? 0.3 : 0.9;
      rows.add(new KnowledgeRow(new Entity(name, name, List.of(), "thing", null, prior, List.of()), "test", null));
    }
    return KnowledgeSnapshot.empty(new SegmentBuilder(WORDS)).with(rows, List.of());
  }

  private static List<String> parts(String text) {
    Tagger tagger = new Tagger(TextTokens.of(text), SNAPSHOT, WORDS);
    tagger.tag();
    return written(tagger.tokens());
  }

  private static List<String> written(TextTokens tokens) {
    List<String> parts = new ArrayList<>();
    for (int token = 0; token < tokens.size(); token++) {
      parts.add(tokens.text(tokens.start(token), tokens.end(token)));
    }
    return parts;
  }

  private static List<String> names(String text) {
    Tagger tagger = new Tagger(TextTokens.of(text), SNAPSHOT, WORDS);
    return tagger.tag().stream()
        .map(span -> span.candidates().getFirst().id() + "=" + tagger.tokens().text(
            tagger.tokens().start(span.firstToken()), tagger.tokens().end(span.lastToken())))
        .toList();
  }

  @Test
  void findsNamesInWordsThatWereRunTogether() {
    assertThat(names("visitusa")).containsExactly("USA=usa");
    assertThat(names("elpaso police")).containsExactly("El Paso=elpaso");
    assertThat(names("Watch InceptionMovie!")).contains("Inception=Inception");
    assertThat(names("myrtle beachharleydavidson")).containsExactly(
        "Myrtle Beach=myrtle beach", "Harley Davidson=harleydavidson");
    assertThat(names("movies20in20north20carolina20x")).containsExactly("North Carolina=north20carolina");
  }

  @Test
  void leavesOtherWordsWhole() {
    assertThat(parts("boosters")).as("no name tells anything").containsExactly("boosters");
    assertThat(parts("understand")).as("a word").containsExactly("understand");
    assertThat(parts("inceptions")).as("a name").containsExactly("inceptions");
    assertThat(parts("incepton")).as("a name with a mistake").containsExactly("incepton");
    assertThat(parts("movietime")).as("known words without a name").containsExactly("movietime");
    assertThat(parts("usa's'inception")).hasSize(1);
    assertThat(parts("xqzusa")).as("an unknown part").containsExactly("xqzusa");
    assertThat(parts("she said that she would go to seethemovieusa and then come home again"))
        .as("running text").contains("seethemovieusa");
  }

  @Test
  void aBlockedNameStaysBlocked() {
    KnowledgeSnapshot blocked = SNAPSHOT.withOverrides(Map.of("visitusa", Optional.empty()));
    Tagger tagger = new Tagger(TextTokens.of("visitusa"), blocked, WORDS);
    assertThat(tagger.tag()).isEmpty();
    assertThat(written(tagger.tokens())).containsExactly("visitusa");
  }

  /** Whatever the text, parts lie in their words, in order and without overlap, and lose nothing but "20". */
  @Property(tries = 500)
  void partsLieWithinTheText(@ForAll("texts") String text) {
    TextTokens whole = TextTokens.of(text);
    Tagger tagger = new Tagger(whole, SNAPSHOT, WORDS);
    List<Tagger.Span> spans = tagger.tag();
    TextTokens cut = tagger.tokens();
    int end = 0;
    for (int token = 0; token < cut.size(); token++) {
      assertThat(cut.start(token)).isGreaterThanOrEqualTo(end).isLessThan(cut.end(token));
      assertThat(cut.term(token)).isEqualTo(TextTokens.matchKey(cut.text(cut.start(token), cut.end(token))));
      end = cut.end(token);
    }
    assertThat(end).isLessThanOrEqualTo(text.length());
    assertThat(String.join("", written(cut)).replace("20", ""))
        .isEqualTo(String.join("", written(whole)).replace("20", ""));
    int last = -1;
    for (Tagger.Span span : spans) {
      assertThat(span.firstToken()).isGreaterThan(last).isLessThanOrEqualTo(span.lastToken());
      last = span.lastToken();
    }
    assertThat(last).isLessThan(cut.size());
    // The same text gives the same, and what is cut is not cut again.
    Tagger again = new Tagger(TextTokens.of(text), SNAPSHOT, WORDS);
    assertThat(again.tag()).isEqualTo(spans);
    assertThat(written(again.tokens())).isEqualTo(written(cut));
    if (cut.size() <= 12) {
      assertThat(parts(String.join(" ", written(cut)))).isEqualTo(written(cut));
    }
  }

  @Provide
  Arbitrary<String> texts() {
    Arbitrary<String> word = Arbitraries.oneOf(
        Arbitraries.of(NAMES).map(name -> name.replace(" ", "")),
        Arbitraries.of(NAMES).map(name -> name.toLowerCase(Locale.ROOT)),
        Arbitraries.of("the", "police", "girl", "20", "2001", "jokes", "trailers", "x", "'s", "é", "東", "-", "&"),
        Arbitraries.strings().withChars("aeinorstu").ofMinLength(1).ofMaxLength(9));
    Arbitrary<String> glue = Arbitraries.of("", "", " ", "20");
    return Combinators.combine(word.list().ofMaxSize(9), glue.list().ofSize(9)).as((list, glues) -> {
      StringBuilder text = new StringBuilder();
      for (int i = 0; i < list.size(); i++) {
        text.append(list.get(i)).append(glues.get(i));
      }
      return text.toString();
    });
  }

  /** Twelve of the longest words, whose every place starts a name or a word. */
  @Test
  @Timeout(20)
  void hardTextsTakeBoundedTime() {
    Random random = new Random(3);
    List<KnowledgeRow> rows = new ArrayList<>();
    for (int i = 0; i < 50_000; i++) {
      StringBuilder name = new StringBuilder();
      for (int letter = 0; letter < 4 + random.nextInt(10); letter++) {
        name.append(random.nextInt(5) == 0 && letter > 0 ? ' ' : (char) ('a' + random.nextInt(3)));
      }
      rows.add(new KnowledgeRow(
          new Entity("e" + i, name.toString(), List.of(), "thing", null, 0.9, List.of()), "test", null));
    }
    KnowledgeSnapshot hard = KnowledgeSnapshot.empty(new SegmentBuilder(WORDS)).with(rows, List.of());
    StringBuilder text = new StringBuilder();
    for (int word = 0; word < 12; word++) {
      for (int letter = 0; letter < 32; letter++) {
        text.append((char) ('a' + random.nextInt(3)));
      }
      text.append(word % 2 == 0 ? "20cab20abc20 " : " ");
    }
    long least = Long.MAX_VALUE;
    for (int i = 0; i < 200; i++) {
      long started = System.nanoTime();
      new Tagger(TextTokens.of(text.toString()), hard, WORDS).tag();
      least = Math.min(least, System.nanoTime() - started);
    }
    assertThat(Duration.ofNanos(least)).isLessThan(Duration.ofMillis(50));
  }
}
