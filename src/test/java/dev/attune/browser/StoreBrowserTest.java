package dev.attune.browser;

import static com.microsoft.playwright.assertions.PlaywrightAssertions.assertThat;
import static org.assertj.core.api.Assertions.assertThat;

import com.microsoft.playwright.Download;
import com.microsoft.playwright.Locator;
import com.microsoft.playwright.Page;
import com.microsoft.playwright.Route;
import com.microsoft.playwright.options.AriaRole;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class StoreBrowserTest extends BrowserFixture {

  @Test
  void anEntityIsTracedAndForgotten() {
    looksFor(user, "films by " + VARNHAGEN, "browser-1", Instant.now().minus(Duration.ofMinutes(190)));
    Page page = open("/store?user=" + user);
    Locator entity = entity(page);
    assertThat(entity).containsText("3 hours ago");

    entity.getByRole(AriaRole.BUTTON, new Locator.GetByRoleOptions().setName("Where from")).click();
    assertThat(entity.locator(".events")).containsText("searched “films by " + VARNHAGEN + "”");

    entity.getByRole(AriaRole.BUTTON, new Locator.GetByRoleOptions().setName("Forget " + VARNHAGEN)).click();
    Locator forgotten = page.locator(".entity-forgotten");
    assertThat(forgotten).containsText("Forgot " + VARNHAGEN);

    page.reload();
    assertThat(page.locator(".entities [role=status]")).isVisible();
    assertThat(entity(page)).hasCount(0);
    Locator list = page.locator(".forgotten");
    list.locator("summary").click();
    assertThat(list).containsText(VARNHAGEN);
    list.getByRole(AriaRole.BUTTON).first().click();
    assertThat(page.locator(".forgotten li").filter(new Locator.FilterOptions().setHasText(VARNHAGEN))).hasCount(0);

    // Learned again from the next search on.
    page.navigate(address("/?user=" + user));
    search(page, "films by " + VARNHAGEN);
    page.navigate(address("/store?user=" + user));
    assertThat(entity(page)).isVisible();
  }

  @Test
  void learningIsPaused() {
    Page page = open("/store?user=" + user);
    assertThat(page.getByText("Nothing learned yet")).isVisible();
    Locator learning = page.getByRole(AriaRole.SWITCH, new Page.GetByRoleOptions().setName("Learning"));
    assertThat(learning).isChecked();
    page.waitForResponse(response -> response.url().endsWith("/settings"), learning::click);
    assertThat(learning).not().isChecked();
    page.reload();
    assertThat(learning).not().isChecked();
    looksFor(user, "films by " + VARNHAGEN, "browser-1", Instant.now());
    page.reload();
    assertThat(page.getByText("Nothing learned yet")).isVisible();
  }

  @Test
  void everythingIsTakenAlongAndErased() throws IOException {
    looksFor(user, "films by " + OKONKWO, "browser-4", Instant.now().minus(Duration.ofDays(1)));
    Page page = open("/store?user=" + user);
    Download download =
        page.waitForDownload(
            () -> page.getByRole(AriaRole.LINK, new Page.GetByRoleOptions().setName("Download")).click());
    assertThat(Files.readString(download.path())).contains(user, "films by " + OKONKWO);

    Locator everything = page.getByRole(AriaRole.BUTTON, new Page.GetByRoleOptions().setName("Erase everything"));
    everything.click();
    Locator dialog = page.getByRole(AriaRole.DIALOG);
    Locator erase = dialog.getByRole(AriaRole.BUTTON, new Locator.GetByRoleOptions().setName("Erase").setExact(true));
    assertThat(erase).isDisabled();
    dialog.getByRole(AriaRole.CHECKBOX).check();
    page.keyboard().press("Escape");
    assertThat(everything).isFocused();
    everything.press("Enter");
    assertThat(dialog.getByRole(AriaRole.CHECKBOX)).not().isChecked();
    dialog.getByRole(AriaRole.CHECKBOX).check();

    // Nothing closes the dialog until the answer is there.
    List<Route> held = new ArrayList<>();
    page.route("**/api/v1/users/" + user, held::add);
    page.waitForRequest(request -> request.method().equals("DELETE"), erase::click);
    page.keyboard().press("Escape");
    assertThat(dialog.getByRole(AriaRole.BUTTON, new Locator.GetByRoleOptions().setName("Keep"))).isDisabled();
    assertThat(dialog).isVisible();
    held.forEach(Route::resume);
    assertThat(page.locator(".receipt")).containsText("0 records remain");
    assertThat(page.getByRole(AriaRole.HEADING, new Page.GetByRoleOptions().setName("Your data"))).isFocused();
    assertThat(page.getByText("Nothing learned yet")).isVisible();
  }

  private static Locator entity(Page page) {
    return page.locator(".entity").filter(new Locator.FilterOptions().setHasText(VARNHAGEN));
  }
}
