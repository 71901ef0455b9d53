package dev.attune.evaluation;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RestController;

/** The measured figures that come with this version, for administrators. */
@RestController
@RequestMapping("/api/v1/admin/quality/results")
class ResultsController {

  private final List<ResultView> results =
      MeasuredResult.bundled().values().stream().map(ResultsController::view).toList();

  /**
   * A table of figures.
   *
   * @param keys columns that name a row
   */
  record ResultView(
      String name,
      String title,
      String command,
      String commit,
      String date,
      String machine,
      @Nullable String notes,
      List<String> keys,
      List<MeasureView> measures,
      List<RowView> rows) {}

  /**
   * A column of figures.
   *
   * @param tolerance how far a repetition may be off; null when it is not compared
   */
  record MeasureView(String name, String title, @Nullable Double tolerance) {}

  /**
   * A line.
   *
   * @param keys by column
   * @param figures by measure, as they are written; a measure that does not apply is left out
   */
  record RowView(Map<String, String> keys, Map<String, String> figures) {}

  @GetMapping
  List<ResultView> results() {
    return results;
  }

  private static ResultView view(MeasuredResult result) {
    return new ResultView(
        result.name(),
        result.title(),
        result.command(),
        result.commit(),
        result.date(),
        result.machine(),
        result.notes(),
        result.keys(),
        result.measures().stream()
            .map(name -> new MeasureView(name, Measures.title(name), result.tolerances().get(name)))
            .toList(),
        result.rows().stream().map(ResultsController::view).toList());
  }

  private static RowView view(MeasuredResult.Row row) {
    Map<String, String> figures = new LinkedHashMap<>();
    row.figures().forEach((measure, value) -> figures.put(measure, Measures.text(measure, value)));
    return new RowView(row.keys(), figures);
  }
}
