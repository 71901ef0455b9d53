package dev.attune.suggestion;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.llm.Models;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.http.MediaType;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

@AttuneIntegrationTest
class SuggestionIntegrationTest {

  @Autowired RestTestClient rest;
  @Autowired DocumentIndex index;
  @Autowired Models models;
  @Autowired JsonMapper json;

  @Test
  void look() throws Exception {
    index.put(List.of(
        film("sg-1", "Arrival", "A linguist talks to aliens who came to Earth.", "Denis Villeneuve", List.of("Amy Adams", "Jeremy Renner"), "Science Fiction"),
        film("sg-2", "Dune", "A noble family rules a desert planet.", "Denis Villeneuve", List.of("Timothée Chalamet", "Zendaya"), "Science Fiction"),
        film("sg-3", "Sicario", "An agent joins a task force at the border.", "Denis Villeneuve", List.of("Emily Blunt", "Josh Brolin"), "Crime"),
        film("sg-4", "Alien", "A crew meets a deadly creature in space.", "Ridley Scott", List.of("Sigourney Weaver", "Tom Skerritt"), "Science Fiction"),
        film("sg-5", "Blade Runner 2049", "A young blade runner finds a secret.", "Denis Villeneuve", List.of("Ryan Gosling", "Harrison Ford"), "Science Fiction")));
    Instant now = Instant.now();
    rest.post().uri("/api/v1/events").contentType(MediaType.parseMediaType("application/x-ndjson")).body(
        """
        {"query_id":"sg-q1","user_id":"sg-a","user_query":"denis villeneuve","timestamp":"%s","query_attributes":{"user_id":"sg-a"}}
        {"action_name":"click","event_id":"sg-e1","query_id":"sg-q1","user_id":"sg-a","timestamp":"%s","event_attributes":{"object":{"object_id":"sg-1"}}}
        {"query_id":"sg-q2","user_query":"denis villeneuve arrival","timestamp":"%s","query_attributes":{"user_id":"sg-a"}}
        """.formatted(now.minusSeconds(86400), now.minusSeconds(86300), now.minusSeconds(4000))).exchange().expectBody(String.class).consumeWith(r -> System.out.println("EV " + r.getResponseBody()));
    while (models.current().isEmpty() && models.status().state() == Models.State.LOADING) { Thread.sleep(50); }
    System.out.println("MODEL " + models.status());
    for (String body : List.of("{\"userId\":\"sg-a\",\"query\":\"science fiction\"}","{\"userId\":\"sg-a\",\"query\":\"science fiction\"}", "{\"userId\":\"sg-b\",\"query\":\"science fiction\"}", "{\"userId\":\"sg-a\",\"query\":\"crime\"}", "{\"documentId\":\"sg-4\"}","{\"documentId\":\"sg-1\",\"userId\":\"sg-a\"}", "{}")) {
      JsonNode n = json.readTree(rest.post().uri("/api/v1/suggestions").contentType(MediaType.APPLICATION_JSON).body(body).exchange().expectStatus().isOk().returnResult(String.class).getResponseBody());
      System.out.println("REQ " + body + "\n" + n.toPrettyString());
    }
    System.out.println("SEARCH " + json.readTree(rest.post().uri("/api/v1/search").contentType(MediaType.APPLICATION_JSON).body("{\"query\":\"science fiction\",\"userId\":\"sg-a\",\"explain\":true}").exchange().returnResult(String.class).getResponseBody()).toPrettyString());
    System.out.println("ENT " + rest.get().uri("/api/v1/users/sg-a/entities").exchange().returnResult(String.class).getResponseBody());
  }

  private static Document film(String id, String title, String text, String director, List<String> actors, String genre) {
    return new Document(id, title, text, null, null, Map.of("director", director, "actors", actors, "genres", List.of(genre)));
  }
}
