package dev.attune.demo;

import dev.attune.retrieval.Document;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * The 9,750 films of the demo as documents: the overview is the text, the poster the image, and genres, director,
 * actors, characters, tags, year, rating, votes and popularity are fields. Film data: TMDB.
 */
public final class MovieCorpus {

  private static final String RESOURCE = "/demo/movies.jsonl.gz";
  /** Empty: not a genre. */
  private static final Map<String, String> GENRES =
      Map.of(
          "sci-fi", "Science Fiction",
          "children", "Family",
          "musical", "Music",
          "film-noir", "Film Noir",
          "imax", "",
          "(no genres listed)", "");
  private static final JsonMapper MAPPER = JsonMapper.builder().build();

  private MovieCorpus() {}

  /** The films that come with the service, in their order; the caller closes the stream. */
  public static Stream<Document> read() {
    InputStream in = MovieCorpus.class.getResourceAsStream(RESOURCE);
    if (in == null) {
      throw new IllegalStateException(RESOURCE + " is not on the class path");
    }
    try {
      BufferedReader lines =
          new BufferedReader(new InputStreamReader(new GZIPInputStream(in), StandardCharsets.UTF_8));
      return lines.lines().map(MovieCorpus::parse).onClose(() -> close(lines));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** One line of the corpus. */
  static Document parse(String line) {
    JsonNode film = MAPPER.readTree(line);
    Map<String, Object> fields = new LinkedHashMap<>();
    for (String name : List.of("genres", "actors", "characters", "tags")) {
      List<String> values = new ArrayList<>();
      film.path(name).forEach(value -> values.add(value.asString()));
      List<String> kept = name.equals("genres") ? genres(values) : List.copyOf(values);
      if (!kept.isEmpty()) {
        fields.put(name, kept);
      }
    }
    String director = film.path("director").asString("");
    if (!director.isBlank()) {
      fields.put("director", director);
    }
    long year = film.path("year").asLong();
    if (year > 0) {
      // Of a few films nobody knows it.
      fields.put("year", year);
    }
    fields.put("votes", film.path("votes").asLong());
    fields.put("rating", film.path("rating").asDouble());
    fields.put("popularity", film.path("popularity").asDouble());
    String poster = film.path("url").asString("");
    return new Document(
        film.path("id").asString(),
        film.path("title").asString(),
        film.path("overview").asString(""),
        null,
        poster.isBlank() ? null : poster,
        fields);
  }

  /** The corpus joins two sources that spell genres differently; one spelling each, in TMDB's words. */
  static List<String> genres(List<String> given) {
    return given.stream()
        .map(genre -> GENRES.getOrDefault(genre.toLowerCase(Locale.ROOT), capitalised(genre)))
        .filter(genre -> !genre.isEmpty())
        .distinct()
        .toList();
  }

  private static String capitalised(String genre) {
    return genre.isEmpty() ? genre : genre.substring(0, 1).toUpperCase(Locale.ROOT) + genre.substring(1);
  }

  private static void close(BufferedReader lines) {
    try {
      lines.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
