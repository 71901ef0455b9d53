package dev.attune.searchlog;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Instant;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.JsonNodeFactory;

/** Whatever JSON arrives, the parser answers, and what it accepts can be stored. */
class UbiParserFuzzTest {

  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
  private static final List<String> NAMES =
      List.of(
          "user_query", "action_name", "timestamp", "query_id", "event_id", "user_id", "client_id", "session_id",
          "event_attributes", "query_attributes", "object", "data", "position", "ordinal", "index", "object_id",
          "title", "text", "url", "query_response_hit_ids", "application", "simulated", "create");

  private final UbiParser parser = UbiParserTest.parser(SearchLogProperties.Actions.LENIENT);

  @Property(tries = 1000)
  void anyJsonGivesAnAnswer(@ForAll("json") JsonNode node) {
    UbiItem item = parser.parse(node, Instant.parse("2026-01-01T00:00:00Z"));

    switch (item) {
      case UbiItem.Query q -> {
        assertStorable(q.queryId(), SearchLog.MAX_ID);
        assertStorable(q.text(), UbiParser.MAX_QUERY);
        assertThat(q.timestamp()).isBetween(UbiTimestamp.EARLIEST, Instant.parse("2026-01-02T00:00:00Z"));
        q.resultIds().forEach(id -> assertStorable(id, SearchLog.MAX_ID));
      }
      case UbiItem.Event e -> {
        assertStorable(e.eventId(), SearchLog.MAX_ID);
        assertStorable(e.action(), UbiParser.MAX_ACTION);
        assertThat(e.action()).isNotBlank();
      }
      case UbiItem.Invalid i -> assertThat(i.reason()).isNotBlank();
      case UbiItem.Skipped _ -> assertThat(node.size()).isEqualTo(1);
    }
  }

  @Property(tries = 200)
  void hashDependsOnContentAlone(@ForAll("json") JsonNode node) {
    JsonNode again = JsonMapper.shared().readTree(node.toPrettyString());

    assertThat(CanonicalHash.of(JsonMapper.shared().readTree(node.toString()))).isEqualTo(CanonicalHash.of(again));
  }

  private static void assertStorable(String text, int max) {
    assertThat(text).hasSizeLessThanOrEqualTo(max).doesNotContain("\u0000").isEqualTo(LogText.clean(text));
  }

  @Provide
  Arbitrary<JsonNode> json() {
    return object(Arbitraries.oneOf(leaf(), object(Arbitraries.oneOf(leaf(), object(leaf())))));
  }

  private static Arbitrary<JsonNode> object(Arbitrary<JsonNode> values) {
    return Arbitraries.maps(Arbitraries.of(NAMES), values)
        .ofMaxSize(8)
        .map(fields -> {
          var node = NODES.objectNode();
          fields.forEach(node::set);
          return node;
        });
  }

  private static Arbitrary<JsonNode> leaf() {
    Arbitrary<JsonNode> texts =
        Arbitraries.oneOf(
                Arbitraries.strings().ofMaxLength(300),
                Arbitraries.of("", " ", "click", "2025-01-01T00:00:00Z", "1717527761998", "\u0000", "\ud800",
                    "x\ude00"))
            .map(NODES::stringNode);
    return Arbitraries.oneOf(
        texts,
        Arbitraries.longs().map(NODES::numberNode),
        Arbitraries.doubles().map(NODES::numberNode),
        Arbitraries.bigIntegers().map(NODES::numberNode),
        Arbitraries.of(true, false).map(NODES::booleanNode),
        Arbitraries.just(NODES.nullNode()),
        texts.list().ofMaxSize(3).map(list -> NODES.arrayNode().addAll(list)));
  }
}
