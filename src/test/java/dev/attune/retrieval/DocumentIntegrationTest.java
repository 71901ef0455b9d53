package dev.attune.retrieval;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.http.MediaType;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

@AttuneIntegrationTest
class DocumentIntegrationTest {

  @Autowired RestTestClient rest;
  @Autowired DocumentIndex index;
  @Autowired JsonMapper mapper;

  @Test
  void putsGetsSearchesAndDeletes() {
    JsonNode report =
        post(
            MediaType.APPLICATION_NDJSON,
            """
            {"id":"docs-a","title":"Quokka","text":"A small marsupial.","fields":{"legs":4,"tags":["cute","furry"]}}

            {"id":"docs-b/1","title":"Numbat","text":"Eats termites."}
            """);
    assertThat(report.toString()).isEqualTo("{\"received\":2,\"indexed\":2,\"rejected\":0,\"errors\":[]}");
    JsonNode document = json(rest.get().uri("/api/v1/documents/docs-a").exchange().expectStatus().isOk());
    assertThat(document.path("fields").path("legs").asInt()).isEqualTo(4);
    assertThat(document.path("fields").path("tags").get(1).asString()).isEqualTo("furry");
    var found = index.search(new RetrievalRequest("australian pouched animal", Mode.HYBRID, 5, Map.of(), List.of()));
    assertThat(found.candidates()).extracting(c -> c.document().id()).contains("docs-a");
    rest.get().uri("/api/v1/documents/docs-b/1").exchange().expectStatus().isOk();
    rest.delete().uri("/api/v1/documents/docs-b/1").exchange().expectStatus().isNoContent();
    rest.delete().uri("/api/v1/documents/docs-b/1").exchange().expectStatus().isNotFound();
    JsonNode problem =
        json(
            rest.get().uri("/api/v1/documents/docs-none").exchange()
                .expectStatus().isNotFound()
                .expectHeader().contentTypeCompatibleWith(MediaType.APPLICATION_PROBLEM_JSON));
    assertThat(problem.path("detail").asString()).contains("docs-none");
  }

  @Test
  void rejectsBadDocumentsOneByOne() {
    String longId = "x".repeat(513);
    List<String> lines =
        List.of(
            "{\"id\":\"docs-ok\",\"title\":\"fine\"}",
            "{broken",
            "{\"title\":\"no id\"}",
            "{\"id\":\"\",\"title\":\"t\"}",
            "{\"id\":\"" + longId + "\",\"title\":\"t\"}",
            "{\"id\":\"a\\u0007b\",\"title\":\"t\"}",
            "{\"id\":\"docs-1\",\"title\":7}",
            "{\"id\":\"docs-2\",\"title\":\"t\",\"fields\":{\"x\":{\"y\":1}}}",
            "{\"id\":\"docs-3\",\"title\":\"t\",\"fields\":{\"x\":[1,2]}}",
            "{\"id\":\"docs-4\",\"title\":\"t\",\"fields\":{\"x\":1e999}}",
            "{\"id\":\"docs-5\",\"title\":\"t\",\"fields\":[]}",
            "{\"id\":\"docs-6\",\"titel\":\"t\"}",
            "{\"id\":\"docs-7\",\"title\":\" \",\"text\":\"\"}",
            "{\"id\":\"docs-8\",\"title\":\"t\\u0000\"}",
            "{\"id\":\"docs-9\",\"title\":\"\\ud800\"}",
            "[1]",
            "\"text\"",
            "{\"id\":\"docs-ok2\",\"title\":\"fine too\",\"fields\":{\"x\":null}}");
    JsonNode report = post(MediaType.APPLICATION_NDJSON, String.join("\n", lines));
    assertThat(report.path("received").asInt()).isEqualTo(lines.size());
    assertThat(report.path("indexed").asInt()).describedAs("%s", report).isEqualTo(2);
    assertThat(report.path("rejected").asInt()).isEqualTo(lines.size() - 2);
    assertThat(report.path("errors")).hasSize(lines.size() - 2);
    Map<Integer, JsonNode> errors =
        report.path("errors").valueStream().collect(Collectors.toMap(e -> e.path("index").asInt(), e -> e));
    assertThat(errors.keySet()).containsExactlyInAnyOrderElementsOf(IntStream.range(1, 17).boxed().toList());
    assertThat(errors.get(2).path("reason").asString()).isEqualTo("id is missing");
    assertThat(errors.get(4).path("reason").asString()).contains("513").contains("512");
    assertThat(errors.get(7).path("id").asString()).isEqualTo("docs-2");
    assertThat(errors.get(7).path("reason").asString()).contains("fields.x");
    assertThat(errors.get(11).path("reason").asString()).contains("titel");
    assertThat(index.find("docs-ok2")).isPresent();
    assertThat(index.find("docs-1")).isEmpty();
  }

  @Test
  void takesJsonArrays() {
    JsonNode report =
        post(
            MediaType.APPLICATION_JSON,
            "[{\"id\":\"docs-r1\",\"title\":\"one\"},{\"id\":\"docs-r2\"},{\"id\":\"docs-r1\",\"title\":\"two\"}]");
    assertThat(report.path("received").asInt()).isEqualTo(3);
    assertThat(report.path("indexed").asInt()).isEqualTo(2);
    assertThat(report.path("errors").get(0).path("id").asString()).isEqualTo("docs-r2");
    assertThat(index.find("docs-r1").orElseThrow().title()).isEqualTo("two");
    assertThat(post(MediaType.APPLICATION_JSON, "").path("received").asInt()).isZero();
  }

  @Test
  void writesManyBatches() {
    String lines =
        IntStream.range(0, 1200)
            .mapToObj(i -> "{\"id\":\"docs-many-" + i % 1100 + "\",\"title\":\"number " + i + "\"}")
            .collect(Collectors.joining("\n"));
    long before = index.size();
    assertThat(post(MediaType.APPLICATION_NDJSON, lines).path("indexed").asInt()).isEqualTo(1200);
    assertThat(index.size()).isEqualTo(before + 1100);
    assertThat(index.find("docs-many-99").orElseThrow().title()).isEqualTo("number 1199");
  }

  @Test
  void refusesOtherBodies() {
    rest.post().uri("/api/v1/documents").contentType(MediaType.TEXT_PLAIN).body("x").exchange()
        .expectStatus().isEqualTo(415);
    rest.post().uri("/api/v1/documents?refresh=perhaps").contentType(MediaType.APPLICATION_NDJSON).body("{}")
        .exchange().expectStatus().isBadRequest();
  }

  private JsonNode post(MediaType type, String body) {
    return json(rest.post().uri("/api/v1/documents").contentType(type).body(body).exchange().expectStatus().isOk());
  }

  private JsonNode json(RestTestClient.ResponseSpec response) {
    byte[] body = response.expectBody().returnResult().getResponseBody();
    return mapper.readTree(body);
  }
}
