package dev.attune.searchlog;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.time.Instant;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.json.JsonMapper;

class UbiParserTest {

  private static final Instant NOW = Instant.parse("2026-01-01T12:00:00.123456789Z");

  private final JsonMapper json = JsonMapper.shared();
  private final UbiParser parser = parser(SearchLogProperties.Actions.LENIENT);

  static UbiParser parser(SearchLogProperties.Actions actions) {
    return new UbiParser(new SearchLogProperties(500, Duration.ofMinutes(30), 20_000, actions, 100, 1000));
  }

  private UbiItem parse(String text) {
    return parser.parse(json.readTree(text), NOW);
  }

  @Test
  void readsQueryOfTheOfficialSchema() {
    UbiItem item =
        parse(
            """
            {"application":"shop","query_id":"q1","client_id":"c1","user_query":" red shoes ","timestamp":
            "2025-02-18T10:00:00.5Z","object_id_field":"sku","query_attributes":{"user_id":"u1","session_id":"s1"},
            "query_response_hit_ids":["a","b",3]}""");

    assertThat(item)
        .isInstanceOfSatisfying(
            UbiItem.Query.class,
            q -> {
              assertThat(q.queryId()).isEqualTo("q1");
              assertThat(q.userId()).isEqualTo("u1");
              assertThat(q.clientId()).isEqualTo("c1");
              assertThat(q.sessionId()).isEqualTo("s1");
              assertThat(q.text()).isEqualTo("red shoes");
              assertThat(q.timestamp()).isEqualTo("2025-02-18T10:00:00.5Z");
              assertThat(q.resultIds()).containsExactly("a", "b", "3");
              assertThat(q.application()).isEqualTo("shop");
            });
  }

  @Test
  void readsEventThatRepeatsItsQuery() {
    UbiItem item =
        parse(
            """
            {"action_name":"click","event_id":"e1","user_query":"red shoes","query_id":null,"user_id":"",
            "client_id":"c","timestamp":1739872800000,"event_attributes":{"user_id":"u1","session_id":"s",
            "position":{"ordinal":3,"x":1.5,"y":-2},"object":{
            "object_id":42,"title":"Red shoe","text":"A shoe.","url":"http://example.org/42"}}}""");

    assertThat(item)
        .isInstanceOfSatisfying(
            UbiItem.Event.class,
            e -> {
              assertThat(e.eventId()).isEqualTo("e1");
              assertThat(e.userId()).isEqualTo("u1");
              assertThat(e.queryId()).isNull();
              assertThat(e.sessionId()).isEqualTo("s");
              assertThat(e.position()).isEqualTo(3);
              assertThat(e.visit()).isTrue();
              assertThat(e.object())
                  .isEqualTo(new LoggedEvent.PageObject("42", "Red shoe", "A shoe.", "http://example.org/42"));
            });
  }

  @Test
  void readsTheVariantsOfRealLogs() {
    UbiItem sort =
        parse(
            """
            {"action_name":"product_sort","timestamp":1717527762042,"event_attributes":{"data":{
            "object_id_field":"sort_event","object_id":"fake"},"position":{"index":9}}}""");
    UbiItem docs =
        parse(
            """
            {"action_name":"item_click","timestamp":1717527762080,"event_attributes":{"object":{
            "description":"Laptop bag","content":"In this example"},"position":{"xy":{"x":1,"y":2}}}}""");
    UbiItem search = parse(
        "{\"action_name\":\"search\",\"event_attributes\":null,\"message\":null,\"timestamp\":1717527762080}");

    assertThat(sort)
        .isInstanceOfSatisfying(
            UbiItem.Event.class,
            e -> {
              assertThat(e.object()).isEqualTo(new LoggedEvent.PageObject("fake", null, null, null));
              assertThat(e.position()).isEqualTo(9);
              assertThat(e.visit()).isFalse();
            });
    assertThat(docs)
        .isInstanceOfSatisfying(
            UbiItem.Event.class,
            e -> {
              assertThat(e.object()).isEqualTo(new LoggedEvent.PageObject(null, "Laptop bag", "In this example", null));
              assertThat(e.position()).isNull();
            });
    assertThat(search).isInstanceOf(UbiItem.Event.class);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"index\":{\"_index\":\"ubi_queries\",\"_id\":\"1\"}}", "{\"create\":{}}", "{\"update\":{\"_id\":\"1\"}}",
        "{\"delete\":{\"_id\":\"1\"}}"
      })
  void skipsBulkActionLines(String line) {
    assertThat(parse(line)).isInstanceOf(UbiItem.Skipped.class);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "[]                                                   | not a JSON object",
        "null                                                 | not a JSON object",
        "{}                                                   | user_query or action_name",
        "{'index':1}                                          | user_query or action_name",
        "{'user_query':5}                                     | user_query: must be a text",
        "{'user_query':{'a':1}}                               | user_query: must be a text",
        "{'user_query':'a','user_id':7}                       | user_id: must be a text",
        "{'user_query':'a','query_attributes':[]}             | query_attributes: must be an object",
        "{'user_query':'a','query_attributes':{'user_id':[]}} | query_attributes.user_id: must be a text",
        "{'user_query':'a','query_response_hit_ids':'x'}      | query_response_hit_ids: must be an array",
        "{'user_query':'a','query_response_object_ids':[{}]}  | query_response_object_ids: must hold texts",
        "{'user_query':'a','timestamp':'yesterday'}           | timestamp: not a date",
        "{'user_query':'a','timestamp':true}                  | timestamp: must be",
        "{'user_query':'a','timestamp':'0012-01-01T00:00:00Z'}| timestamp: before 1995",
        "{'user_query':'a','timestamp':'2026-01-03T00:00:00Z'}| timestamp: more than a day in the future",
        "{'user_query':'a','timestamp':99999999999999999999}  | timestamp: number out of range",
        "{'user_query':'a','timestamp':1e300}                 | timestamp: number out of range",
        "{'user_query':'a','timestamp':9223372036854775807}   | timestamp: more than a day",
        "{'user_query':'a','timestamp':-9223372036854775808}  | timestamp: ",
        "{'user_query':'a','query_id':'a\\u0000b'}            | query_id: holds control",
        "{'user_query':'a','client_id':'\\ud800'}             | client_id: holds control",
        "{'action_name':' '}                                  | action_name: must not be empty",
        "{'action_name':3}                                    | action_name: must be a text",
        "{'action_name':'click','event_attributes':'x'}       | event_attributes: must be an object",
        "{'action_name':'click','event_attributes':{'object':'x'}} | event_attributes.object: must be an object",
        "{'action_name':'click','event_attributes':{'data':[1]}}   | event_attributes.data: must be an object",
        "{'action_name':'click','event_attributes':{'object':{'title':1}}} | event_attributes.object.title: must",
        "{'action_name':'click','event_attributes':{'object':{'object_id':1.5}}} | event_attributes.object.object_id",
        "{'action_name':'click','event_attributes':{'position':4}} | event_attributes.position: must be an object",
        "{'action_name':'click','event_attributes':{'position':{'ordinal':'4'}}} | event_attributes.position.ordinal",
        "{'action_name':'click','event_attributes':{'position':{'ordinal':-1}}}  | event_attributes.position.ordinal",
        "{'action_name':'click','event_attributes':{'position':{'index':1e99}}}  | event_attributes.position.index",
      })
  void rejectsWithAReasonThatNamesTheField(String item, String reason) {
    assertThat(parse(item.replace('\'', '"')))
        .isInstanceOfSatisfying(UbiItem.Invalid.class, i -> assertThat(i.reason()).startsWith(reason));
  }

  @ParameterizedTest
  @CsvSource({
    "'\"2025-01-24T07:31:30.699+0000\"', 2025-01-24T07:31:30.699Z",
    "'\"2018-11-13T20:20:39+02:00\"',    2018-11-13T18:20:39Z",
    "'\"2018-11-13T20:20:39\"',          2018-11-13T20:20:39Z",
    "'\"2018-11-13 20:20:39Z\"',         2018-11-13T20:20:39Z",
    "'\"2018-11-13\"',                   2018-11-13T00:00:00Z",
    "'1717527761998',                    2024-06-04T19:02:41.998Z",
    "'\"1717527761998\"',                2024-06-04T19:02:41.998Z",
    "'1717527761',                       2024-06-04T19:02:41Z",
    "'1717527761.25',                    2024-06-04T19:02:41.25Z",
    "'\"1717527761.25\"',                2024-06-04T19:02:41.25Z",
    "'null',                             2026-01-01T12:00:00.123456Z",
  })
  void readsTimestamps(String timestamp, Instant expected) {
    assertThat(parse("{\"user_query\":\"a\",\"timestamp\":" + timestamp + "}"))
        .isInstanceOfSatisfying(UbiItem.Query.class, q -> assertThat(q.timestamp()).isEqualTo(expected));
  }

  @Test
  void withoutIdTheContentIsTheId() {
    UbiItem one = parse("{\"user_query\":\"a\",\"user_id\":\"u\",\"query_attributes\":{\"x\":1,\"y\":[2]}}");
    UbiItem same = parse("{ \"query_attributes\":{\"y\":[2],\"x\":1}, \"user_id\":\"u\",\"user_query\":\"a\"}");
    UbiItem other = parse("{\"user_query\":\"a\",\"user_id\":\"u\",\"query_attributes\":{\"x\":1,\"y\":[3]}}");

    assertThat(((UbiItem.Query) one).queryId()).hasSize(64).isEqualTo(((UbiItem.Query) same).queryId());
    assertThat(((UbiItem.Query) other).queryId()).isNotEqualTo(((UbiItem.Query) one).queryId());
  }

  @Test
  void textsAreCutAndCleaned() {
    String longText = "x".repeat(UbiParser.MAX_QUERY - 1) + "\\ud83d\\ude00";
    UbiItem query = parse("{\"user_query\":\"a\\u0000b\\ud800c\"}");
    UbiItem cut = parse("{\"user_query\":\"" + longText + "\"}");

    assertThat(((UbiItem.Query) query).text()).isEqualTo("a b c");
    assertThat(((UbiItem.Query) cut).text()).isEqualTo("x".repeat(UbiParser.MAX_QUERY - 1));
    assertThat(parse("{\"user_query\":\"a\",\"user_id\":\"" + "u".repeat(257) + "\"}"))
        .isEqualTo(new UbiItem.Invalid("user_id: longer than 256 characters"));
  }

  @Test
  void unknownActionsAreAcceptedUnlessStrict() {
    String item = "{\"action_name\":\"levitate\",\"event_attributes\":{\"object\":{\"object_id\":\"1\"}}}";

    assertThat(parse(item)).isInstanceOf(UbiItem.Event.class);
    assertThat(parser(SearchLogProperties.Actions.STRICT).parse(json.readTree(item), NOW))
        .isInstanceOfSatisfying(UbiItem.Invalid.class, i -> assertThat(i.reason()).startsWith("action_name: unknown"));
    assertThat(
            parser(SearchLogProperties.Actions.STRICT)
                .parse(json.readTree("{\"action_name\":\"click\"}"), NOW))
        .isInstanceOf(UbiItem.Event.class);
  }
}
