package dev.attune.demo;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.retrieval.Document;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class MovieCorpusTest {

  @Test
  void genresOfBothSourcesHaveOneSpelling() {
    assertThat(MovieCorpus.genres(List.of("action", "Action", "sci-fi", "(no genres listed)", "imax", "TV Movie")))
        .containsExactly("Action", "Science Fiction", "TV Movie");
  }

  @Test
  void everyFilmIsReadAndNoGenreDiffersByCaseAlone() {
    Set<String> ids = new HashSet<>();
    Set<String> genres = new TreeSet<>();
    try (Stream<Document> films = MovieCorpus.read()) {
      films.forEach(film -> {
        assertThat(film.title()).isNotBlank();
        // Zero stands for an unknown year in the data.
        assertThat(film.fields().getOrDefault("year", 1900L)).isInstanceOfSatisfying(
            Long.class, year -> assertThat(year).isBetween(1880L, 2100L));
        ids.add(film.id());
        if (film.fields().get("genres") instanceof List<?> values) {
          values.forEach(value -> genres.add(String.valueOf(value)));
        }
      });
    }
    assertThat(ids).hasSize(9_750);
    assertThat(genres.stream().map(genre -> genre.toLowerCase(Locale.ROOT)).distinct()).hasSameSizeAs(genres);
    assertThat(genres).contains("Science Fiction", "Family").doesNotContain("sci-fi", "children");
  }
}
