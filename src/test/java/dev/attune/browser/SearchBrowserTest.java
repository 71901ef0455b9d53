package dev.attune.browser;

import static com.microsoft.playwright.assertions.PlaywrightAssertions.assertThat;
import static org.assertj.core.api.Assertions.assertThat;

import com.microsoft.playwright.Locator;
import com.microsoft.playwright.Page;
import com.microsoft.playwright.Response;
import com.microsoft.playwright.options.AriaRole;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.UUID;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

class SearchBrowserTest extends BrowserFixture {

  @Test
  void whatWasLookedForComesBackAsSuggestion() {
    Page page = open("/?user=" + user);
    search(page, "films by " + VARNHAGEN);
    Locator hit = page.locator(".hit").filter(new Locator.FilterOptions().setHasText(VARNHAGEN)).first();
    Response logged =
        page.waitForResponse(
            response -> response.url().endsWith("/api/v1/events"),
            () -> hit.getByRole(AriaRole.LINK).first().click());
    assertThat(logged.status()).isEqualTo(200);
    Locator panel = page.getByRole(AriaRole.DIALOG, new Page.GetByRoleOptions().setName("Details"));
    assertThat(panel).containsText(VARNHAGEN);
    page.keyboard().press("Escape");
    assertThat(panel).isHidden();

    search(page, "lighthouse");
    Locator suggestion =
        page.locator(".search-side .suggestion")
            .filter(new Locator.FilterOptions().setHasText(Pattern.compile("varnhagen", Pattern.CASE_INSENSITIVE)))
            .first();
    assertThat(suggestion).isVisible();
    suggestion.getByRole(AriaRole.BUTTON).click();
    assertThat(suggestion.locator(".events")).containsText("films by " + VARNHAGEN);

    String next = suggestion.getByRole(AriaRole.LINK).textContent();
    suggestion.getByRole(AriaRole.LINK).click();
    assertThat(page.getByRole(AriaRole.COMBOBOX)).hasValue(next);
    ranked(page);
    assertThat(titles(page)).isNotEmpty();
  }

  @Test
  void everythingWorksWithTheKeyboard() {
    looksFor(user, "lighthouse films", "browser-1", Instant.now().minus(Duration.ofHours(1)));
    Page page = open("/?user=" + user);
    Locator box = page.getByRole(AriaRole.COMBOBOX, new Page.GetByRoleOptions().setName("Search"));
    // Keys are heard once the page is there.
    assertThat(box).isVisible();
    page.keyboard().press("?");
    Locator help = page.getByRole(AriaRole.DIALOG, new Page.GetByRoleOptions().setName("Keyboard shortcuts"));
    assertThat(help).isVisible();
    page.keyboard().press("Escape");
    assertThat(help).isHidden();

    page.keyboard().press("/");
    assertThat(box).isFocused();
    page.keyboard().type("lighthouse f");
    Locator options = page.getByRole(AriaRole.OPTION);
    assertThat(options.first()).hasText(Pattern.compile("^lighthouse films"));
    page.keyboard().press("ArrowDown");
    assertThat(options.first()).hasAttribute("aria-selected", "true");
    page.keyboard().press("Enter");
    assertThat(box).hasValue("lighthouse films");
    assertThat(options).hasCount(0);
    ranked(page);

    Locator links = page.locator(".hit-link");
    page.keyboard().press("ArrowDown");
    assertThat(links.nth(0)).isFocused();
    page.keyboard().press("ArrowDown");
    assertThat(links.nth(1)).isFocused();
    page.keyboard().press("ArrowUp");
    assertThat(links.nth(0)).isFocused();
    page.keyboard().press("Enter");
    Locator panel = page.getByRole(AriaRole.DIALOG, new Page.GetByRoleOptions().setName("Details"));
    assertThat(panel).isVisible();
    page.keyboard().press("Escape");
    assertThat(panel).isHidden();
    assertThat(links.nth(0)).isFocused();
    page.keyboard().press("Escape");
    assertThat(box).isFocused();
  }

  @Test
  void peopleSeeTheirOwnOrderWithItsReasons() {
    String other = "browser-" + UUID.randomUUID();
    Instant then = Instant.now().minus(Duration.ofHours(2));
    for (String film : List.of("browser-1", "browser-2", "browser-3")) {
      looksFor(user, "films by " + VARNHAGEN, film, then);
    }
    for (String film : List.of("browser-4", "browser-5", "browser-6")) {
      looksFor(other, "films by " + OKONKWO, film, then);
    }
    Page page = open("/?q=lighthouse&user=" + user);
    ranked(page);
    List<String> mine = titles(page);
    assertThat(why(page, VARNHAGEN)).isVisible();
    assertThat(why(page, OKONKWO)).hasCount(0);

    use(page, other);
    assertThat(why(page, OKONKWO)).isVisible();
    ranked(page);
    assertThat(why(page, VARNHAGEN)).hasCount(0);
    assertThat(titles(page)).containsExactlyInAnyOrderElementsOf(mine).isNotEqualTo(mine);

    Locator reason = why(page, OKONKWO);
    reason.click();
    assertThat(page.locator(".why-reasons").first()).containsText("films by " + OKONKWO);

    choose(page, "Off");
    assertThat(page.locator(".why")).hasCount(0);
    assertThat(page).hasURL(Pattern.compile("p=off"));
    ranked(page);
    List<String> forEverybody = titles(page);
    page.reload();
    ranked(page);
    assertThat(titles(page)).isEqualTo(forEverybody);
  }

  private static Locator why(Page page, String entity) {
    return page.locator(".why > button").filter(new Locator.FilterOptions().setHasText(entity)).first();
  }

  private static void use(Page page, String userId) {
    menu(page).click();
    page.getByLabel("Or a name of your own").fill(userId);
    page.getByRole(AriaRole.BUTTON, new Page.GetByRoleOptions().setName("Use").setExact(true)).click();
    page.keyboard().press("Escape");
    assertThat(page).hasURL(Pattern.compile("user=" + userId));
  }

  private static void choose(Page page, String personalization) {
    menu(page).click();
    page.getByLabel(Pattern.compile("^" + personalization)).check();
    page.keyboard().press("Escape");
  }

  private static Locator menu(Page page) {
    return page.getByRole(
        AriaRole.BUTTON, new Page.GetByRoleOptions().setName(Pattern.compile("^Searching as")));
  }
}
