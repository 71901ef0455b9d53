package dev.attune.evaluation;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.yaml.snakeyaml.Yaml;

/** Figures that runs are compared with: {@code evaluation/expected.yml}, which says where each comes from. */
final class ExpectedResults {

  private final List<Expected> all;

  private ExpectedResults(List<Expected> all) {
    this.all = all;
  }

  static ExpectedResults load() {
    try (InputStream in = ExpectedResults.class.getResourceAsStream("/evaluation/expected.yml")) {
      Map<String, List<Map<String, Object>>> root = new Yaml().load(in);
      return new ExpectedResults(root.getOrDefault("ranking", List.of()).stream().map(ExpectedResults::read).toList());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The figure for a whole run of this system; a sample of the queries has none. */
  Optional<Expected> find(String dataset, String system, int queries) {
    return all.stream()
        .filter(e -> e.dataset().equals(dataset) && e.system().equals(system) && e.queries() == queries)
        .findFirst();
  }

  private static Expected read(Map<String, Object> entry) {
    return new Expected(
        String.valueOf(entry.get("dataset")),
        String.valueOf(entry.get("system")),
        ((Number) entry.get("queries")).intValue(),
        ((Number) entry.get("ndcg10")).doubleValue(),
        ((Number) entry.get("tolerance")).doubleValue());
  }

  /**
   * One figure.
   *
   * @param ndcg nDCG@10
   * @param tolerance a run further below is a regression
   */
  record Expected(String dataset, String system, int queries, double ndcg, double tolerance) {
    /** {@code ok}, or {@code LOW}, or {@code better} by more than the tolerance. */
    String grade(double actual) {
      return actual < ndcg - tolerance ? "LOW" : actual > ndcg + tolerance ? "better" : "ok";
    }
  }
}
