package dev.attune.llm.lora;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.ModelFileException;
import dev.attune.llm.safetensors.SafetensorsFile;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Optional;
import org.apache.commons.codec.digest.DigestUtils;
import org.jspecify.annotations.Nullable;

/**
 * The files of one adapter, read whole (a few MB): {@code adapter_config.json}, {@code adapter_model.safetensors}, and
 * optionally {@code base.sha256}: SHA-256 sums, one a line as {@code sha256sum} prints them, of the model files that
 * the adapter was trained for; it is then refused for any other.
 *
 * @param name for messages
 */
public record LoraFiles(String name, byte[] configuration, byte[] weights, @Nullable String bases) {

  private static final String CONFIGURATION = "adapter_config.json";
  private static final String WEIGHTS = "adapter_model.safetensors";
  private static final String BASES = "base.sha256";
  /** Far above the adapter of a model that this engine would run. */
  private static final long MAX_BYTES = 1L << 30;

  /**
   * Reads a directory.
   *
   * @throws NoSuchFileException when one of the two files is missing
   * @throws ModelFileException when the weights are absurdly large
   */
  public static LoraFiles directory(Path directory) throws IOException {
    Path weights = directory.resolve(WEIGHTS);
    if (Files.exists(weights) && Files.size(weights) > MAX_BYTES) {
      throw new ModelFileException("%s: %d bytes are too many for an adapter".formatted(weights, Files.size(weights)));
    }
    Path bases = directory.resolve(BASES);
    return new LoraFiles(String.valueOf(directory.getFileName()), Files.readAllBytes(directory.resolve(CONFIGURATION)),
        Files.readAllBytes(weights), Files.exists(bases) ? Files.readString(bases) : null);
  }

  /** Reads an adapter on the class path, {@code folder} like {@code models/ranking}; empty when there is none. */
  public static Optional<LoraFiles> classPath(ClassLoader loader, String folder) throws IOException {
    byte[] configuration = resource(loader, folder + "/" + CONFIGURATION);
    byte[] weights = resource(loader, folder + "/" + WEIGHTS);
    if (configuration == null || weights == null) {
      return Optional.empty();
    }
    byte[] bases = resource(loader, folder + "/" + BASES);
    return Optional.of(new LoraFiles(folder, configuration, weights,
        bases == null ? null : new String(bases, StandardCharsets.UTF_8)));
  }

  private static byte @Nullable [] resource(ClassLoader loader, String path) throws IOException {
    try (InputStream in = loader.getResourceAsStream(path)) {
      return in == null ? null : in.readAllBytes();
    }
  }

  /**
   * The adapter for a model.
   *
   * @param sha256 of the model's file, in hex
   * @throws ModelFileException when the files are damaged, or made for another model; the message says why
   */
  public LoraAdapter adapter(ModelConfig model, String sha256) {
    if (bases != null && bases.lines().noneMatch(line -> line.startsWith(sha256))) {
      throw new ModelFileException("%s: trained for another model than the one loaded (%s; SHA-256 %s is not in %s)"
          .formatted(name, model.name(), sha256, BASES));
    }
    try (SafetensorsFile file = SafetensorsFile.of(name + "/" + WEIGHTS, weights)) {
      return LoraAdapter.read(name, fingerprint(), configuration, file, model);
    }
  }

  private String fingerprint() {
    MessageDigest digest = DigestUtils.getSha256Digest();
    digest.update(configuration);
    digest.update(weights);
    return HexFormat.of().formatHex(digest.digest(), 0, 16);
  }
}
