package dev.attune.browser;

import static com.microsoft.playwright.assertions.PlaywrightAssertions.assertThat;

import com.microsoft.playwright.Locator;
import com.microsoft.playwright.Page;
import com.microsoft.playwright.options.AriaRole;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

class AdminBrowserTest extends BrowserFixture {

  @Test
  void fromTheOverviewToTheEventsBehindAnEntity() {
    looksFor(user, "films by " + VARNHAGEN, "browser-1", Instant.now().minus(Duration.ofMinutes(190)));
    Page page = open("/admin");
    Locator figures = page.locator(".figures");
    assertThat(figures).containsText("Documents");
    assertThat(page.getByRole(AriaRole.HEADING, new Page.GetByRoleOptions().setName("Compute vectors"))).isVisible();

    page.getByRole(AriaRole.NAVIGATION, new Page.GetByRoleOptions().setName("Administration"))
        .getByRole(AriaRole.LINK, new Locator.GetByRoleOptions().setName("Users"))
        .click();
    page.getByLabel("Filter by user").fill(user);
    Locator row = page.getByRole(AriaRole.ROW).filter(new Locator.FilterOptions().setHasText(user));
    assertThat(row).containsText("3 hours ago");
    Locator queries = page.getByRole(AriaRole.COLUMNHEADER, new Page.GetByRoleOptions().setName("Queries"));
    queries.getByRole(AriaRole.BUTTON).click();
    assertThat(queries).hasAttribute("aria-sort", "descending");
    assertThat(row).isVisible();

    row.getByRole(AriaRole.LINK).click();
    assertThat(page).hasURL(Pattern.compile("/admin/users/" + user));
    Locator entity =
        page.getByRole(AriaRole.ROW)
            .filter(
                new Locator.FilterOptions()
                    .setHas(page.getByRole(AriaRole.ROWHEADER, new Page.GetByRoleOptions().setName(VARNHAGEN))));
    entity.getByRole(AriaRole.BUTTON).click();
    assertThat(page.locator(".events")).containsText("searched “films by " + VARNHAGEN + "”");
    assertThat(page.locator(".events")).containsText("opened");
  }

  @Test
  void jobsAndModelsSayHowTheyStand() {
    Page page = open("/admin/jobs");
    assertThat(page.locator(".job").first()).isVisible();
    page.getByRole(AriaRole.LINK, new Page.GetByRoleOptions().setName("Models")).click();
    assertThat(page.locator(".card .state")).hasText(Pattern.compile("ready|loading|missing|broken"));
  }

  @Test
  void qualityShowsTheDaysAndWhatWasMeasured() {
    looksFor(user, "films by " + VARNHAGEN, "browser-1", Instant.now());
    Page page = open("/admin");
    page.getByRole(AriaRole.NAVIGATION, new Page.GetByRoleOptions().setName("Administration"))
        .getByRole(AriaRole.LINK, new Locator.GetByRoleOptions().setName("Quality"))
        .click();
    Locator today = page.getByRole(AriaRole.REGION, new Page.GetByRoleOptions().setName("Searches by day"));
    assertThat(today.getByRole(AriaRole.ROWHEADER).first())
        .hasText(LocalDate.now(ZoneOffset.UTC).toString());
    Locator retrieval = page.getByRole(
        AriaRole.REGION, new Page.GetByRoleOptions().setName("Retrieval").setExact(true));
    Locator bm25 =
        retrieval.getByRole(AriaRole.ROW)
            .filter(new Locator.FilterOptions().setHasText("cranfield"))
            .filter(new Locator.FilterOptions().setHasText("bm25"));
    assertThat(bm25).containsText("0.37");
  }
}
