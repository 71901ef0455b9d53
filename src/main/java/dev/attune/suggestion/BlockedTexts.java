package dev.attune.suggestion;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.springframework.core.io.ClassPathResource;
import org.springframework.stereotype.Component;

/** Words and phrases that are never suggested, whoever searched for them: {@code suggestion/blocked.txt}. */
@Component
class BlockedTexts {

  private final List<String> phrases;

  BlockedTexts() {
    try (InputStream in = new ClassPathResource("suggestion/blocked.txt").getInputStream()) {
      phrases =
          new String(in.readAllBytes(), StandardCharsets.UTF_8)
              .lines()
              .filter(line -> !line.isBlank() && !line.startsWith("#"))
              .map(line -> " " + QueryText.normalize(line) + " ")
              .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Whether a text holds one of them, as whole words. */
  boolean matches(String text) {
    String words = " " + QueryText.normalize(text) + " ";
    return phrases.stream().anyMatch(words::contains);
  }
}
