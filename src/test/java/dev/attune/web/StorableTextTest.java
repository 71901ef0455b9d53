package dev.attune.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.util.Random;
import org.junit.jupiter.api.Test;

class StorableTextTest {

  /** What UTF-8 gives back as it was, without zero characters; over texts rich in halves of surrogate pairs. */
  @Test
  void agreesWithTheEncoder() {
    char[] characters = {'a', '\0', '\ud83d', '\udca9', '\ud800', '\udfff', '\ud7ff', '\ue000', '\n'};
    Random random = new Random(7);
    int storable = 0;
    for (int n = 0; n < 20_000; n++) {
      StringBuilder text = new StringBuilder();
      for (int length = random.nextInt(6); length > 0; length--) {
        text.append(characters[random.nextInt(characters.length)]);
      }
      String kept = text.toString();
      boolean expected = kept.indexOf('\0') < 0 && StandardCharsets.UTF_8.newEncoder().canEncode(kept);
      assertThat(StorableText.storable(kept)).as(kept.chars().boxed().toList().toString()).isEqualTo(expected);
      storable += expected ? 1 : 0;
    }
    assertThat(storable).as("both kinds are met").isBetween(4_000, 16_000);
  }
}
