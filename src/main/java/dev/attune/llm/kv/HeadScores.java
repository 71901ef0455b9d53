package dev.attune.llm.kv;

import dev.attune.llm.ModelConfig;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/**
 * How much each KV head of a model behaves like a retrieval head, measured by {@link HeadCalibration}: the larger of
 * its query heads' scores.
 *
 * @param model its name
 * @param fingerprint of the weights that were measured
 * @param command that measured them
 * @param echo {@code [layer][kvHead]}: mean attention, in [0,1], to the same token earlier
 * @param induction {@code [layer][kvHead]}: mean attention, in [0,1], to the token after it
 */
public record HeadScores(String model, String fingerprint, String command, float[][] echo, float[][] induction) {

  /** RazorAttention chooses 1 % of heads by echo and 14 % by induction. */
  private static final double ECHO_SHARE = 1.0 / 15;

  private static final Map<String, HeadScores> LOADED = new ConcurrentHashMap<>();

  /**
   * The calibration that comes with the project.
   *
   * @throws IllegalStateException when there is none for this model; the message says how to make one
   */
  public static HeadScores of(ModelConfig config) {
    HeadScores scores = LOADED.computeIfAbsent(resource(config.name()), resource -> load(resource, config.name()));
    if (scores.echo.length != config.layers() || scores.induction.length != config.layers()
        || scores.echo[0].length != config.kvHeads()) {
      throw new IllegalStateException(
          "The calibration of retrieval heads for %s is of %d layers of %d KV heads, the model has %d of %d".formatted(
              config.name(), scores.echo.length, scores.echo[0].length, config.layers(), config.kvHeads()));
    }
    return scores;
  }

  /** Whether the heads of a model of this name were measured. */
  public static boolean calibrated(ModelConfig config) {
    return HeadScores.class.getResource(resource(config.name())) != null;
  }

  private static HeadScores load(String resource, String name) {
    try (InputStream in = HeadScores.class.getResourceAsStream(resource)) {
      if (in == null) {
        throw new IllegalStateException(
            ("There is no calibration of retrieval heads for %s (%s); make one with `attune "
                + "models calibrate` or use a KV policy without razor").formatted(name, resource));
      }
      return JsonMapper.shared().readValue(in, HeadScores.class);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (JacksonException e) {
      throw new IllegalStateException("The calibration of retrieval heads " + resource + " cannot be read", e);
    }
  }

  /** Where the calibration of a model lies among the resources. */
  public static String resource(String modelName) {
    String name = modelName.toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9.]+", "-");
    return "/kv/" + name + ".json";
  }

  /**
   * The retrieval heads: those with the highest echo scores for a fifteenth of them, those with the highest induction
   * scores for the rest.
   *
   * @param share of all KV heads, in [0,1]
   * @return {@code [layer][kvHead]}
   */
  public boolean[][] retrievalHeads(double share) {
    record Head(int layer, int head) {}
    List<Head> heads = new ArrayList<>();
    for (int layer = 0; layer < echo.length; layer++) {
      for (int head = 0; head < echo[layer].length; head++) {
        heads.add(new Head(layer, head));
      }
    }
    int wanted = (int) Math.round(share * heads.size());
    boolean[][] chosen = new boolean[echo.length][echo.length == 0 ? 0 : echo[0].length];
    int byEcho = (int) Math.ceil(wanted * ECHO_SHARE);
    heads.sort(Comparator.comparingDouble(h -> -echo[h.layer][h.head]));
    heads.subList(0, byEcho).forEach(h -> chosen[h.layer][h.head] = true);
    heads.sort(Comparator.comparingDouble(h -> -induction[h.layer][h.head]));
    int left = wanted - byEcho;
    for (Head h : heads) {
      if (left > 0 && !chosen[h.layer][h.head]) {
        chosen[h.layer][h.head] = true;
        left--;
      }
    }
    return chosen;
  }
}
