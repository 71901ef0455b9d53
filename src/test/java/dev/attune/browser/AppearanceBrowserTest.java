package dev.attune.browser;

import static com.microsoft.playwright.assertions.PlaywrightAssertions.assertThat;
import static org.assertj.core.api.Assertions.assertThat;

import com.microsoft.playwright.Locator;
import com.microsoft.playwright.Page;
import com.microsoft.playwright.options.AriaRole;
import com.microsoft.playwright.options.ColorScheme;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Narrow and wide, light and dark, and what axe finds wrong for people with disabilities. */
class AppearanceBrowserTest extends BrowserFixture {

  private static final Path AXE = Path.of("frontend/node_modules/axe-core/axe.min.js");

  private static final String SIDEWAYS =
      "document.documentElement.scrollWidth - document.documentElement.clientWidth";

  private List<String> pages() {
    return List.of(
        "/?user=" + user,
        "/?q=lighthouse&user=" + user,
        "/?q=lighthouse&doc=browser-1&user=" + user,
        "/?q=" + encoded(VARNHAGEN + " " + OKONKWO) + "&user=" + user,
        "/store?user=" + user,
        "/admin?user=" + user,
        "/admin/users?user=" + user,
        "/admin/users/" + user,
        "/admin/users/" + user + "/simulate",
        "/admin/jobs",
        "/admin/models",
        "/admin/knowledge",
        "/admin/quality");
  }

  @ParameterizedTest
  @CsvSource({"320, DARK", "320, LIGHT", "390, DARK", "1280, DARK", "2560, LIGHT"})
  void nothingScrollsSideways(int width, ColorScheme scheme) {
    looksFor(user, "films by " + VARNHAGEN, "browser-1", Instant.now());
    looksFor(user, "films by " + OKONKWO, "browser-4", Instant.now());
    Page page = open("/?user=" + user, width, scheme);
    for (String path : pages()) {
      show(page, path);
      assertThat((Integer) page.evaluate(SIDEWAYS)).as("%s is wider than %d px by", path, width).isLessThanOrEqualTo(0);
    }
    assertThat(page.locator("html")).hasAttribute("data-mantine-color-scheme", scheme.name().toLowerCase(Locale.ROOT));
  }

  @ParameterizedTest
  @ValueSource(strings = {"LIGHT", "DARK"})
  void axeFindsNothing(ColorScheme scheme) throws IOException {
    looksFor(user, "films by " + VARNHAGEN, "browser-1", Instant.now());
    Page page = open("/?user=" + user, 1280, scheme);
    for (String path : pages()) {
      show(page, path);
      assertThat(violations(page)).as(path).isEmpty();
    }
  }

  @Test
  void aSimulationFitsAndAxeFindsNothing() throws IOException {
    looksFor(user, "films by " + VARNHAGEN, "browser-1", Instant.now());
    Page page = open("/admin/users/" + user + "/simulate", 320, ColorScheme.DARK);
    simulate(page, "lighthouse drama");
    for (Locator details : page.locator("details").all()) {
      details.locator("summary").click();
    }
    for (int width : new int[] {320, 1280}) {
      page.setViewportSize(width, 800);
      assertThat((Integer) page.evaluate(SIDEWAYS)).as("wider than %d px by", width).isLessThanOrEqualTo(0);
      assertThat(violations(page)).isEmpty();
    }
  }

  private static List<?> violations(Page page) throws IOException {
    page.evaluate(Files.readString(AXE));
    return (List<?>)
        page.evaluate(
            "axe.run({resultTypes: ['violations']}).then(r => r.violations.map(v => v.id + ': '"
                + " + v.nodes.map(n => n.target.join(' ') + ' ' + n.failureSummary).join('; ')))");
  }

  @Test
  void theChosenColoursStay() {
    Page page = open("/", 390, ColorScheme.LIGHT);
    page.getByRole(AriaRole.BUTTON, new Page.GetByRoleOptions().setName("Use dark colours")).click();
    Locator html = page.locator("html");
    assertThat(html).hasAttribute("data-mantine-color-scheme", "dark");
    page.reload();
    assertThat(html).hasAttribute("data-mantine-color-scheme", "dark");
  }

  private void show(Page page, String path) {
    page.navigate(address(path));
    if (path.contains("q=")) {
      ranked(page);
    }
    // No waitForFunction: it evaluates text in the page, which the Content-Security-Policy forbids.
    assertThat(page.locator("main h1")).hasCount(1);
    assertThat(page.locator(".skeleton")).hasCount(0);
    // An empty page is narrow and without faults, too.
    assertThat(page.getByRole(AriaRole.ALERT)).hasCount(0);
  }
}
