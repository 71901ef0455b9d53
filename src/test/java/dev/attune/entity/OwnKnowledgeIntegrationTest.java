package dev.attune.entity;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.AttuneIntegrationTest;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.core.io.InputStreamResource;
import org.springframework.http.MediaType;
import org.springframework.test.web.servlet.client.RestTestClient;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A team loads its own knowledge base, with the whole service. */
@AttuneIntegrationTest
class OwnKnowledgeIntegrationTest {

  private static final String KB = "/api/v1/admin/kb";

  @Autowired RestTestClient rest;
  @Autowired JsonMapper json;
  @Autowired KnowledgeBase knowledge;
  @Autowired KnowledgeImport imports;
  @Autowired EntityLinker linker;

  @Test
  void whatIsLoadedIsLinkedAtOnceAndShown() {
    JsonNode report = load("", """
        {"id":"okb:1","label":"Okbmeridian","aliases":["Okbmer"],"type":"product",\
        "description":"a telescope","prior":0.5,\
        "neighbours":[{"id":"okb:2","relation":"made by"},{"id":"okb:2","relation":"again"},{"id":"okb:late"}]}
        {"id":"okb:2","label":"Okbworks Ltd","type":"organization"}
        """);
    assertThat(report.toString()).isEqualTo("{\"received\":2,\"written\":2,\"rejected\":0,\"errors\":[]}");
    assertThat(linked("okbmer manual")).containsExactly("okb:1");
    assertThat(knowledge.find("okb:1")).contains(
        new Entity("okb:1", "Okbmeridian", List.of("Okbmer"), "product", "a telescope", 0.5,
            List.of(new Entity.Neighbour("okb:2", "made by"), new Entity.Neighbour("okb:late", "related"))));
    assertThat(knowledge.neighbours("okb:2")).containsExactly(new Entity.Neighbour("okb:1", "made by"));
    JsonNode stats = get(KB);
    assertThat(stats.at("/bySource/own").asInt()).isGreaterThanOrEqualTo(2);
    JsonNode audited = get("/api/v1/admin/audit?size=1").at("/items/0");
    assertThat(audited.get("action").asString()).isEqualTo("POST /api/v1/admin/kb");
    assertThat(audited.get("status").asInt()).isEqualTo(200);
  }

  @Test
  void theSameAgainChangesNothingAndAnIdReplacesItsEntityAsAWhole() {
    String first = "{\"id\":\"okb:r\",\"label\":\"Okbrubicon\",\"aliases\":[\"Okbrub\"],\"type\":\"place\"}";
    load("", first);
    int size = knowledge.size();
    Entity before = knowledge.find("okb:r").orElseThrow();
    load("", first);
    assertThat(knowledge.size()).isEqualTo(size);
    assertThat(knowledge.find("okb:r")).contains(before);
    assertThat(linked("okbrub")).containsExactly("okb:r");

    load("", "{\"id\":\"okb:r\",\"label\":\"Okbrubicon\"}\n{\"id\":\"okb:r\",\"label\":\"Okbthird\"}");
    assertThat(knowledge.size()).isEqualTo(size);
    assertThat(linked("okbrub")).as("names of before are gone").isEmpty();
    assertThat(linked("okbthird")).as("the last of two lines counts").containsExactly("okb:r");
    assertThat(knowledge.find("okb:r").orElseThrow().type()).isEqualTo("thing");
  }

  @Test
  void bundledEntitiesStayBesideAndAreReplacedById() {
    String bundled = "{\"id\":\"okb:b1\",\"label\":\"Okbbundled\"}\n{\"id\":\"okb:b2\",\"label\":\"Okbstays\"}";
    imports.importNdjson("okb-bundled", stream(bundled));
    load("?source=okb-team", "{\"id\":\"okb:b1\",\"label\":\"Okbmine\"}");
    assertThat(linked("okbmine")).containsExactly("okb:b1");
    assertThat(linked("okbbundled")).isEmpty();
    assertThat(linked("okbstays")).containsExactly("okb:b2");
    JsonNode sources = get(KB).get("bySource");
    assertThat(sources.get("okb-bundled").asInt()).isEqualTo(1);
    assertThat(sources.get("okb-team").asInt()).isEqualTo(1);
  }

  @Test
  void badLinesAreRejectedOneByOneWithTheirReasons() {
    JsonNode report = load("", """
        {"id":"okb:g1","label":"Okbgood"}
        {"id":"okb:g2"

        {"label":"no id"}
        {"id":"okb:n","label":"Okbn","neighbours":["okb:1"]}
        {"id":"okb:p","label":"Okbp","prior":1.5}
        {"id":"person:okb","label":"Okbperson"}
        {"id":"okb:long","label":"%s"}
        []
        {"id":"okb:u","label":"Okb \\ud800 odd \\u0000 text"}
        """.formatted("x".repeat(1001)));
    assertThat(report.get("received").asInt()).isEqualTo(9);
    assertThat(report.get("written").asInt()).isEqualTo(2);
    assertThat(report.get("rejected").asInt()).isEqualTo(7);
    assertThat(report.get("errors").valueStream().map(error -> error.get("index").asInt()))
        .containsExactly(1, 2, 3, 4, 5, 6, 7);
    assertThat(report.get("errors").findValuesAsString("reason")).satisfiesExactly(
        reason -> assertThat(reason).startsWith("not valid JSON"),
        reason -> assertThat(reason).isEqualTo("id is missing"),
        reason -> assertThat(reason).isEqualTo("neighbours must be objects with an id"),
        reason -> assertThat(reason).isEqualTo("prior must be a number from 0 to 1"),
        reason -> assertThat(reason).startsWith("id must not begin with person:"),
        reason -> assertThat(reason).isEqualTo("label has more than 1000 characters"),
        reason -> assertThat(reason).isEqualTo("must be an object"));
    assertThat(report.at("/errors/3/id").asString()).isEqualTo("okb:p");
    assertThat(knowledge.find("okb:u").orElseThrow().label()).isEqualTo("Okb ? odd  text");
  }

  @Test
  void anArrayIsReadTooAndMoreThanOneGroupIsWritten() {
    StringBuilder array = new StringBuilder("[");
    for (int i = 0; i < 12_000; i++) {
      array.append(i == 0 ? "" : ",").append("{\"id\":\"okb:m").append(i).append("\",\"label\":\"Okbmany ").append(i)
          .append("\",\"description\":\"one of many entities in a body that is larger than ordinary bodies may be\"}");
    }
    String body = array.append(']').toString();
    assertThat(body.length()).isGreaterThan(1 << 20);
    JsonNode report = send("", MediaType.APPLICATION_JSON, body);
    assertThat(report.get("written").asInt()).isEqualTo(12_000);
    assertThat(linked("okbmany 11999")).containsExactly("okb:m11999");
  }

  @Test
  void anEntityIsRemovedForTheLinkerAtOnceAndAudited() {
    load("", """
        {"id":"okb:d1","label":"Okbdoomed","aliases":["Okbdoo"],"neighbours":[{"id":"okb:d2","relation":"made by"}]}
        {"id":"okb:d2","label":"Okbkept"}
        """);
    assertThat(linked("okbdoo by okbkept")).containsExactly("okb:d1", "okb:d2");
    rest.delete().uri(KB + "/entities/okb:d1").header("X-Audit-Reason", "was wrong").exchange()
        .expectStatus().isNoContent();
    assertThat(linked("okbdoo by okbkept")).containsExactly("okb:d2");
    assertThat(knowledge.neighbours("okb:d2")).isEmpty();
    JsonNode audited = get("/api/v1/admin/audit?size=1").at("/items/0");
    assertThat(audited.get("action").asString()).isEqualTo("DELETE /api/v1/admin/kb/entities/{entityId}");
    assertThat(audited.get("subject").asString()).isEqualTo("okb:d1");
    assertThat(audited.get("reason").asString()).isEqualTo("was wrong");
    rest.delete().uri(KB + "/entities/okb:d1").exchange().expectStatus().isNotFound()
        .expectHeader().contentType(MediaType.APPLICATION_PROBLEM_JSON);
    rest.delete().uri(KB + "/entities/" + "x".repeat(201)).exchange().expectStatus().isBadRequest();

    rest.post().uri("/api/v1/documents").contentType(MediaType.APPLICATION_NDJSON)
        .body("{\"id\":\"okb-film\",\"title\":\"Okbfilm\",\"text\":\"x\"}").exchange().expectStatus().isOk();
    rest.delete().uri(KB + "/entities/work:okb-film").exchange().expectStatus().isEqualTo(409)
        .expectHeader().contentType(MediaType.APPLICATION_PROBLEM_JSON);
    assertThat(linked("okbfilm")).containsExactly("work:okb-film");
  }

  @Test
  void aSourceIsRemovedAsAWholeAndNoOther() {
    load("?source=okb-keep", """
        {"id":"okb:s1","label":"Okbstaying"}
        {"id":"okb:s2","label":"Okbtaken"}
        """);
    load("?source=okb-drop", """
        {"id":"okb:s2","label":"Okbtaken"}
        {"id":"okb:s3","label":"Okbthrown"}
        """);
    assertThat(json.readTree(
        rest.delete().uri(KB + "/sources/okb-drop").exchange().expectStatus().isOk().expectBody().returnResult()
            .getResponseBody()).toString()).isEqualTo("{\"removed\":2}");
    assertThat(linked("okbstaying okbtaken okbthrown")).as("what was replaced does not come back")
        .containsExactly("okb:s1");
    assertThat(get(KB).get("bySource").propertyNames()).contains("okb-keep").doesNotContain("okb-drop");
    assertThat(get("/api/v1/admin/audit?size=1").at("/items/0/subject").asString()).isEqualTo("okb-drop");
    rest.delete().uri(KB + "/sources/okb-drop").exchange().expectStatus().isNotFound();
    rest.delete().uri(KB + "/sources/documents").exchange().expectStatus().isBadRequest();
  }

  @ParameterizedTest
  @ValueSource(strings = {"documents", "Own", "a b", "x/y"})
  void badSourcesAreProblems(String source) {
    JsonNode problem =
        json.readTree(
            rest.post().uri(builder -> builder.path(KB).queryParam("source", source).build())
                .contentType(MediaType.APPLICATION_NDJSON).body("{\"id\":\"okb:s\",\"label\":\"Okbs\"}").exchange()
                .expectStatus().isBadRequest()
                .expectHeader().contentType(MediaType.APPLICATION_PROBLEM_JSON)
                .expectBody().returnResult().getResponseBody());
    assertThat(problem.at("/errors/0/field").asString()).isEqualTo("source");
    assertThat(knowledge.find("okb:s")).isEmpty();
  }

  @Test
  void otherKindsOfBodiesAreRefused() {
    rest.post().uri(KB).contentType(MediaType.TEXT_PLAIN).body("id,label").exchange()
        .expectStatus().isEqualTo(415)
        .expectHeader().contentType(MediaType.APPLICATION_PROBLEM_JSON);
    assertThat(load("", "").get("received").asInt()).isZero();
  }

  private List<String> linked(String text) {
    return linker.link(text, LinkContext.NONE).stream().map(Mention::entityId).toList();
  }

  private static InputStream stream(String text) {
    return new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8));
  }

  private JsonNode load(String parameters, String lines) {
    return send(parameters, MediaType.APPLICATION_NDJSON, lines);
  }

  private JsonNode send(String parameters, MediaType type, String body) {
    return json.readTree(
        rest.post().uri(KB + parameters).contentType(type).body(new InputStreamResource(stream(body))).exchange()
            .expectStatus().isOk().expectBody().returnResult().getResponseBody());
  }

  private JsonNode get(String uri) {
    return json.readTree(
        rest.get().uri(uri).exchange().expectStatus().isOk().expectBody().returnResult().getResponseBody());
  }
}
