package dev.attune.entity;

import dev.attune.retrieval.Document;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;

/**
 * Time to link one query, and one film's overview, against the demo's knowledge base (bundled entities and all films).
 * Run it with the project's JVM flags and the test class path. With the argument {@code memory} it instead builds a
 * knowledge base of a million names and prints its size.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(1)
public class LinkerBenchmark {

  private static final int QUERIES = 4096;

  private EntityLinker linker;
  private String[] queries;
  private String[] texts;
  private int next;

  public static void main(String[] args) throws RunnerException {
    if (args.length > 0 && args[0].equals("memory")) {
      memory();
    } else {
      new Runner(new OptionsBuilder().include(LinkerBenchmark.class.getSimpleName()).build()).run();
    }
  }

  @Setup
  public void load() {
    KnowledgeSnapshot snapshot = FilmKnowledge.load();
    linker = new DictionaryLinker(() -> snapshot, FilmKnowledge.WORDS, FilmKnowledge.PROPERTIES);
    List<Document> films = FilmKnowledge.films();
    Random random = new Random(7);
    queries = new String[QUERIES];
    texts = new String[QUERIES];
    for (int i = 0; i < QUERIES; i++) {
      Document film = films.get(random.nextInt(films.size()));
      Object actors = film.fields().get("actors");
      String actor = actors instanceof List<?> list ? String.valueOf(list.getFirst()) : "";
      queries[i] = switch (i % 4) {
        case 0 -> film.title().toLowerCase(Locale.ROOT);
        case 1 -> "movies like " + film.title();
        case 2 -> actor + " " + film.fields().get("director") + " drama";
        default -> "the one where a man goes back in time to save his mother";
      };
      texts[i] = film.text();
    }
  }

  @Benchmark
  public List<Mention> query() {
    next = (next + 1) % QUERIES;
    return linker.link(queries[next], LinkContext.NONE);
  }

  @Benchmark
  public List<Mention> overview() {
    next = (next + 1) % QUERIES;
    return linker.link(texts[next], LinkContext.NONE);
  }

  private static void memory() {
    List<KnowledgeRow> rows = new ArrayList<>();
    Random random = new Random(1);
    for (int i = 0; i < 400_000; i++) {
      List<Entity.Neighbour> neighbours = new ArrayList<>();
      for (int k = 0; k < 5; k++) {
        neighbours.add(new Entity.Neighbour("Q" + random.nextInt(400_000), "relation" + k));
      }
      rows.add(new KnowledgeRow(new Entity("Q" + i, name(random), List.of(name(random), name(random)), "person",
          "a description of about forty characters " + i, 0.3, neighbours), "test", null));
    }
    long started = System.nanoTime();
    KnowledgeSegment segment = new SegmentBuilder(FilmKnowledge.WORDS).build(rows);
    long built = System.nanoTime();
    System.out.printf("1,200,000 names of %,d entities: %d MB, built in %d ms%n", segment.size(),
        segment.ramBytes() >> 20, (built - started) / 1_000_000);
  }

  private static String name(Random random) {
    StringBuilder name = new StringBuilder();
    for (int word = 0; word < 2 + random.nextInt(2); word++) {
      for (int i = 0; i < 3 + random.nextInt(6); i++) {
        name.append((char) ('a' + random.nextInt(26)));
      }
      name.append(' ');
    }
    return name.toString().strip();
  }
}
