package dev.attune.browser;

import static org.assertj.core.api.Assertions.assertThat;

import com.microsoft.playwright.Browser;
import com.microsoft.playwright.BrowserContext;
import com.microsoft.playwright.Locator;
import com.microsoft.playwright.Page;
import com.microsoft.playwright.assertions.PlaywrightAssertions;
import com.microsoft.playwright.options.AriaRole;
import com.microsoft.playwright.options.ColorScheme;
import com.microsoft.playwright.options.ReducedMotion;
import dev.attune.AttuneIntegrationTest;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.test.web.server.LocalServerPort;
import org.springframework.http.MediaType;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A page of the running service in a browser context of its own, with a few films and a user that nobody else uses.
 * Nothing outside the service is reached. A script error or a breach of the Content-Security-Policy fails the test.
 */
@AttuneIntegrationTest
abstract class BrowserFixture {

  /** Films of two directors; the texts of both speak of lighthouses. */
  static final String VARNHAGEN = "Ilse Varnhagen";

  static final String OKONKWO = "Tobias Okonkwo";

  @Autowired RestTestClient rest;
  @Autowired JsonMapper json;
  @LocalServerPort int port;

  final String user = "browser-" + UUID.randomUUID();

  /** Generous: machines that run all tests at once are slow, and what never comes still fails. */
  private static final double PATIENCE_MS = 25_000;

  private static final double SIMULATION_MS = 120_000;

  private final List<BrowserContext> contexts = new ArrayList<>();
  private final List<String> faults = new CopyOnWriteArrayList<>();

  @BeforeEach
  void films() {
    // Before any work: without a Chromium nothing is to be done.
    Chromium.browser();
    List<Map<String, Object>> films =
        List.of(
            film("browser-1", "The Lantern Keepers", VARNHAGEN, 1998, "Drama",
                "Two sisters keep a lighthouse on a rock in the North Sea and hide a deserter through one winter."),
            film("browser-2", "Salt and Thunder", VARNHAGEN, 2003, "Thriller",
                "A lighthouse inspector finds the logbook of a ship that was never reported missing."),
            film("browser-3", "A Quiet Harbour", VARNHAGEN, 2011, "Drama",
                "The last fisherman of a village teaches his granddaughter to read the sea."),
            film("browser-4", "Beam", OKONKWO, 2001, "Science Fiction",
                "A lighthouse on the edge of the solar system answers a signal that nobody sent."),
            film("browser-5", "The Keeper's Engine", OKONKWO, 2007, "Science Fiction",
                "An android tends a lighthouse long after the last ship has sailed, until one returns."),
            film("browser-6", "Orbit of Glass", OKONKWO, 2015, "Science Fiction",
                "A crew repairs the mirror of a telescope and sees their own ship looking back."));
    JsonNode answer = post("/api/v1/documents", films);
    assertThat(answer.path("indexed").asInt()).isEqualTo(films.size());
  }

  @AfterEach
  void closeAndCheck() {
    contexts.forEach(BrowserContext::close);
    assertThat(faults).as("script errors and breaches of the Content-Security-Policy").isEmpty();
  }

  private static Map<String, Object> film(
      String id, String title, String director, int year, String genre, String text) {
    return Map.of(
        "id", id,
        "title", title,
        "text", text,
        "image", "https://image.tmdb.org/t/p/w154/" + id + ".jpg",
        "fields", Map.of("director", director, "year", year, "genres", List.of(genre)));
  }

  JsonNode post(String path, Object body) {
    byte[] answer =
        rest.post()
            .uri(path)
            .contentType(MediaType.APPLICATION_JSON)
            .body(json.writeValueAsString(body))
            .exchange()
            .expectStatus()
            .is2xxSuccessful()
            .expectBody()
            .returnResult()
            .getResponseBody();
    return json.readTree(answer == null ? new byte[0] : answer);
  }

  /** Logs that a user asked something and opened a document of the answer. */
  void looksFor(String userId, String query, String documentId, Instant at) {
    String queryId = UUID.randomUUID().toString();
    post(
        "/api/v1/events",
        List.of(
            Map.of(
                "query_id", queryId,
                "user_query", query,
                "client_id", userId,
                "timestamp", at.toString(),
                "query_attributes", Map.of("user_id", userId)),
            Map.of(
                "event_id", UUID.randomUUID().toString(),
                "action_name", "click",
                "query_id", queryId,
                "user_id", userId,
                "client_id", userId,
                "timestamp", at.plusSeconds(10).toString(),
                "event_attributes",
                    Map.of("object", Map.of("object_id", documentId), "position", Map.of("ordinal", 1)))));
  }

  String address(String path) {
    return "http://127.0.0.1:" + port + path;
  }

  static String encoded(String value) {
    return URLEncoder.encode(value, StandardCharsets.UTF_8);
  }

  Page open(String path) {
    return open(path, new Browser.NewContextOptions().setViewportSize(1280, 900));
  }

  Page open(String path, int width, ColorScheme scheme) {
    return open(path, new Browser.NewContextOptions().setViewportSize(width, 800).setColorScheme(scheme));
  }

  private Page open(String path, Browser.NewContextOptions options) {
    BrowserContext context =
        Chromium.browser().newContext(options.setReducedMotion(ReducedMotion.REDUCE).setLocale("en-GB"));
    contexts.add(context);
    String service = address("/");
    context.route(
        url -> !url.startsWith(service) && !url.startsWith("data:") && !url.startsWith("blob:"),
        route -> route.abort());
    context.setDefaultTimeout(PATIENCE_MS);
    PlaywrightAssertions.setDefaultAssertionTimeout(PATIENCE_MS);
    Page page = context.newPage();
    page.onPageError(error -> faults.add(error));
    page.onConsoleMessage(
        message -> {
          if (message.text().contains("Content Security Policy")
              || message.text().contains("Content-Security-Policy")) {
            faults.add(message.text());
          }
        });
    page.navigate(address(path));
    return page;
  }

  /** Types a query and waits until the ranked list is there. */
  void search(Page page, String query) {
    Locator box = page.getByRole(AriaRole.COMBOBOX, new Page.GetByRoleOptions().setName("Search"));
    box.fill(query);
    box.press("Enter");
    ranked(page);
  }

  /** Waits until the list has its final order and the suggestions are there. */
  static void ranked(Page page) {
    page.locator(".hits[data-phase=done]").waitFor();
  }

  /** Asks on the page of a simulation and waits until both answers are there: they may read what nobody has read. */
  static void simulate(Page page, String query) {
    page.getByLabel("Query").fill(query);
    page.getByLabel("Query").press("Enter");
    page.locator(".simulation").waitFor(new Locator.WaitForOptions().setTimeout(SIMULATION_MS));
  }

  static List<String> titles(Page page) {
    return page.locator(".hit-link").allTextContents();
  }
}
