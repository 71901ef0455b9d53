package dev.attune.llm.hub;

import dev.attune.llm.ModelFileException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A model on a hub, written {@code hf:org/name}, {@code hf:org/name@revision} or {@code hf:org/name:file.gguf}.
 *
 * @param revision branch, tag or commit
 * @param file the GGUF file wanted, or empty for whatever the model is made of
 */
public record HubModel(String organisation, String name, String revision, String file) {

  public static final String PREFIX = "hf:";

  private static final Pattern FORM =
      Pattern.compile("hf:(\\w[\\w.-]*)/(\\w[\\w.-]*?)(?:@(\\w[\\w.-]*))?(?::(\\w[\\w.-]*\\.gguf))?");

  /** Reads the written form; empty when the text does not begin with {@code hf:}. */
  public static Optional<HubModel> parse(String text) {
    if (!text.startsWith(PREFIX)) {
      return Optional.empty();
    }
    Matcher form = FORM.matcher(text);
    if (!form.matches()) {
      throw new ModelFileException(
          "'%s' is not of the form hf:org/name, hf:org/name@revision or hf:org/name:file.gguf".formatted(text));
    }
    return Optional.of(new HubModel(form.group(1), form.group(2), form.group(3) == null ? "main" : form.group(3),
        form.group(4) == null ? "" : form.group(4)));
  }

  /** Where its files are kept. */
  public Path directory(Path cache) {
    return cache.resolve("hub").resolve(organisation + "--" + name + (revision.equals("main") ? "" : "@" + revision)
        + (file.isEmpty() ? "" : "--gguf"));
  }

  /** What the loader opens, once it is downloaded. */
  public Path place(Path cache) {
    return file.isEmpty() ? directory(cache) : directory(cache).resolve(file);
  }

  @Override
  public String toString() {
    return PREFIX + organisation + "/" + name + (revision.equals("main") ? "" : "@" + revision)
        + (file.isEmpty() ? "" : ":" + file);
  }
}
