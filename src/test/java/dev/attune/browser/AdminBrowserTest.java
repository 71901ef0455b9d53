package dev.attune.browser;

import static com.microsoft.playwright.assertions.PlaywrightAssertions.assertThat;

import com.microsoft.playwright.Locator;
import com.microsoft.playwright.Page;
import com.microsoft.playwright.options.AriaRole;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
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
  void aSimulationShowsBothListsThePromptAndTheAttention() {
    for (int day = 1; day < 4; day++) {
      looksFor(user, "films by " + VARNHAGEN, "browser-" + day, Instant.now().minus(Duration.ofDays(day)));
    }
    Page page = open("/admin/users/" + user);
    page.getByRole(AriaRole.LINK, new Page.GetByRoleOptions().setName("Simulate a search without a trace")).click();
    assertThat(page).hasURL(Pattern.compile("/admin/users/" + user + "/simulate"));
    simulate(page, "lighthouse drama");
    Locator mine = page.getByRole(AriaRole.REGION, new Page.GetByRoleOptions().setName("Results as " + user));
    Locator others = page.getByRole(AriaRole.REGION, new Page.GetByRoleOptions().setName("Results without the user"));
    assertThat(mine.getByRole(AriaRole.LISTITEM).filter(new Locator.FilterOptions().setHasText("Salt and Thunder")))
        .containsText(VARNHAGEN);
    assertThat(others.getByRole(AriaRole.LISTITEM).filter(new Locator.FilterOptions().setHasText("Salt and Thunder")))
        .not().containsText(VARNHAGEN);
    assertThat(page.getByRole(AriaRole.STATUS).filter(new Locator.FilterOptions().setHasText("lighthouse")))
        .containsText("read for ranking");
    assertThat(page.getByRole(AriaRole.REGION, new Page.GetByRoleOptions().setName("Suggestions as " + user)))
        .containsText(Pattern.compile("varnhagen", Pattern.CASE_INSENSITIVE));

    Locator attention =
        page.getByRole(AriaRole.REGION, new Page.GetByRoleOptions().setName("Table: attention per document"));
    Locator row = attention.getByRole(AriaRole.ROW).filter(new Locator.FilterOptions().setHasText("Salt and Thunder"));
    assertThat(row).containsText(Pattern.compile("[0-9.]+ %"));
    assertThat(row.locator("pre")).isHidden();
    row.locator("summary").focus();
    row.locator("summary").press("Enter");
    assertThat(row.locator("pre")).containsText("Document\nTitle:");
    Locator prompt = page.locator("details").filter(new Locator.FilterOptions().setHasText("Ranking as " + user));
    prompt.locator("summary").press("Enter");
    page.locator("details").filter(new Locator.FilterOptions().setHasText("Suggestions as " + user))
        .locator("summary").press("Enter");
    assertThat(page.locator("details").filter(new Locator.FilterOptions().setHasText("Suggestions as " + user)))
        .containsText("ilse varnhagen (6 times)");
    assertThat(prompt).containsText("About the user:");
    assertThat(prompt).containsText("Query: lighthouse drama");

    page.navigate(address("/admin/users/" + user));
    assertThat(page.locator(".user-head")).containsText("3 queries");
  }

  @Test
  void aNameIsFixedAndLeftToTheLinkerAgain() {
    String alias = "zq" + user.substring("browser-".length(), "browser-".length() + 8);
    Page page = open("/admin");
    page.getByRole(AriaRole.NAVIGATION, new Page.GetByRoleOptions().setName("Administration"))
        .getByRole(AriaRole.LINK, new Locator.GetByRoleOptions().setName("Knowledge"))
        .click();
    assertThat(page.getByRole(AriaRole.REGION, new Page.GetByRoleOptions().setName("By source")))
        .containsText("documents");
    page.getByLabel("Name", new Page.GetByLabelOptions().setExact(true)).fill(alias);
    page.getByLabel("Id of its entity").fill("person:nobody-" + alias);
    page.getByLabel("Id of its entity").press("Enter");
    assertThat(page.getByRole(AriaRole.ALERT)).containsText("names no entity");

    page.getByLabel("Id of its entity").fill("person:ilse-varnhagen");
    page.getByLabel("Id of its entity").press("Enter");
    assertThat(page.getByRole(AriaRole.STATUS).filter(new Locator.FilterOptions().setHasText(alias)))
        .containsText("means " + VARNHAGEN + " (person) from now on");
    page.getByLabel("Filter by name").fill(alias);
    Locator row = page.getByRole(AriaRole.ROW).filter(new Locator.FilterOptions().setHasText(alias));
    assertThat(row).containsText(VARNHAGEN);
    row.getByRole(AriaRole.BUTTON).press("Enter");
    assertThat(page.getByText("No fixed name like this")).isVisible();
  }

  @Test
  void aSourceAndAnEntityAreRemovedAfterAQuestion() {
    String id = user.substring("browser-".length(), "browser-".length() + 8);
    String source = "src-" + id;
    post("/api/v1/admin/kb?source=" + source,
        List.of(Map.of("id", "zr:1" + id, "label", "Zr1" + id), Map.of("id", "zr:2" + id, "label", "Zr2" + id)));
    Page page = open("/admin/knowledge");
    Locator sources = page.getByRole(AriaRole.REGION, new Page.GetByRoleOptions().setName("By source"));
    Locator dialog = page.getByRole(AriaRole.DIALOG);
    page.getByLabel("Id of a loaded entity").fill("zr:1" + id);
    page.getByLabel("Id of a loaded entity").press("Enter");
    assertThat(dialog).containsText("Remove zr:1" + id + "?");
    dialog.getByRole(AriaRole.BUTTON, new Locator.GetByRoleOptions().setName("Remove")).click();
    assertThat(sources.getByRole(AriaRole.STATUS)).hasText("zr:1" + id + " removed.");

    page.getByLabel("Id of a loaded entity").fill("person:ilse-varnhagen");
    page.getByLabel("Id of a loaded entity").press("Enter");
    dialog.getByRole(AriaRole.BUTTON, new Locator.GetByRoleOptions().setName("Remove")).click();
    assertThat(dialog.getByRole(AriaRole.ALERT)).containsText("follows from documents");
    assertThat(dialog.getByRole(AriaRole.BUTTON, new Locator.GetByRoleOptions().setName("Keep"))).isFocused();
    page.keyboard().press("Enter");
    assertThat(page.getByLabel("Id of a loaded entity")).isFocused();

    Locator all =
        sources.getByRole(AriaRole.BUTTON, new Locator.GetByRoleOptions().setName("Remove… all of " + source));
    all.press("Enter");
    assertThat(dialog).containsText("1 entity with");
    assertThat(dialog.getByRole(AriaRole.ALERT)).hasCount(0);
    dialog.getByRole(AriaRole.BUTTON, new Locator.GetByRoleOptions().setName("Keep")).click();
    assertThat(sources).containsText(source);
    assertThat(all).isFocused();
    all.press("Enter");
    dialog.getByRole(AriaRole.BUTTON, new Locator.GetByRoleOptions().setName("Remove")).click();
    assertThat(sources.getByRole(AriaRole.STATUS)).hasText("1 entity of " + source + " removed.");
    assertThat(sources.getByRole(AriaRole.HEADING)).isFocused();
    assertThat(all).hasCount(0);
    assertThat(
            sources.getByRole(AriaRole.BUTTON, new Locator.GetByRoleOptions().setName("Remove… all of documents")))
        .hasCount(0);
  }

  @Test
  void jobsAndModelsSayHowTheyStand() {
    Page page = open("/admin/jobs");
    assertThat(page.locator(".job").first()).isVisible();
    Locator rebuild =
        page.locator(".job").filter(new Locator.FilterOptions().setHasText("Rebuild all knowledge stores"));
    rebuild.getByRole(AriaRole.BUTTON).click();
    assertThat(rebuild).containsText("finished");
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
