package dev.attune.browser;

import com.microsoft.playwright.Browser;
import com.microsoft.playwright.BrowserType;
import com.microsoft.playwright.Playwright;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Assertions;

/** The installed Chromium, started once for all browser tests. */
final class Chromium {

  private static final List<Path> PLACES =
      Stream.of("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome").map(Path::of).toList();

  private static final List<String> FLAGS =
      List.of(
          "--headless",
          "--no-sandbox",
          "--disable-gpu",
          "--disable-quic",
          "--no-first-run",
          "--disable-background-networking",
          "--disable-component-update",
          "--disable-sync");

  private static Browser browser;

  private Chromium() {}

  /** Skips the test visibly where there is no Chromium; fails instead if {@code ATTUNE_REQUIRE_BROWSER} is true. */
  static synchronized Browser browser() {
    if (browser == null) {
      browser = start(executable());
    }
    return browser;
  }

  private static Path executable() {
    Optional<Path> found = PLACES.stream().filter(Files::isExecutable).findFirst();
    if (found.isEmpty() && Boolean.parseBoolean(System.getenv("ATTUNE_REQUIRE_BROWSER"))) {
      Assertions.fail("No Chromium at " + PLACES + ", and ATTUNE_REQUIRE_BROWSER asks for one: install it");
    }
    Assumptions.assumeTrue(found.isPresent(), "skipped: no Chromium at " + PLACES);
    return found.orElseThrow();
  }

  private static Browser start(Path executable) {
    Playwright playwright =
        Playwright.create(
            new Playwright.CreateOptions().setEnv(Map.of("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")));
    Runtime.getRuntime().addShutdownHook(new Thread(playwright::close, "close-chromium"));
    return playwright
        .chromium()
        .launch(new BrowserType.LaunchOptions().setExecutablePath(executable).setArgs(FLAGS));
  }
}
