package dev.attune.suggestion;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.knowledge.UserErased;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.TestModel;
import dev.attune.searchlog.ActivityRecorded;
import dev.attune.searchlog.LoggedQuery;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.springframework.boot.context.properties.bind.Bindable;
import org.springframework.boot.context.properties.bind.Binder;
import org.springframework.boot.context.properties.source.MapConfigurationPropertySource;

class PromptPrefixesTest {

  private final LanguageModel model = TestModel.get();
  private final int[] instruction = model.tokenizer().encode("You write queries.");
  private final int[] context = model.tokenizer().encode(" Searched: dune");

  @Test
  void readsTheInstructionOnceForEverybody() {
    PromptPrefixes prefixes = prefixes("64");
    var first = prefixes.instruction(model, instruction);
    var second = prefixes.instruction(model, instruction);
    assertThat(first.cached()).isFalse();
    assertThat(second.cached()).isTrue();
    assertThat(second.segment()).isSameAs(first.segment());
    assertThat(prefixes.instruction(model, context).cached()).isFalse();
  }

  @Test
  void keepsAUsersContextUntilItChanges() {
    PromptPrefixes prefixes = prefixes("64");
    assertThat(read(prefixes, "a")).isFalse();
    assertThat(read(prefixes, "a")).isTrue();
    assertThat(read(prefixes, "b")).as("another user's is not shared").isFalse();
    prefixes.onActivity(new ActivityRecorded(List.of(query("a")), List.of()));
    assertThat(read(prefixes, "a")).isFalse();
    assertThat(read(prefixes, "b")).isTrue();
    prefixes.onActivity(new ActivityRecorded(List.of(query("c")), List.of(),
        List.of(new ActivityRecorded.Withdrawal(ActivityRecorded.Kind.QUERY, "q", "a"))));
    assertThat(read(prefixes, "a")).as("an item turned out to be another user's").isFalse();
    prefixes.onErasure(new UserErased("b"));
    assertThat(prefixes.size()).isEqualTo(1);
    assertThat(read(prefixes, "b")).isFalse();
  }

  @Test
  void keepsNothingThatChangedWhileItWasRead() {
    PromptPrefixes prefixes = prefixes("64");
    long version = prefixes.version("a");
    prefixes.drop("a");
    prefixes.context(model, "a", version, context, prefixes.instruction(model, instruction).segment());
    assertThat(prefixes.size()).isZero();
  }

  @Test
  void keepsTheMostRecentUsersOnly() {
    PromptPrefixes prefixes = prefixes("2");
    read(prefixes, "a");
    read(prefixes, "b");
    read(prefixes, "a");
    read(prefixes, "c");
    assertThat(prefixes.size()).isEqualTo(2);
    assertThat(read(prefixes, "a")).isTrue();
    assertThat(read(prefixes, "b")).isFalse();
  }

  @Test
  void anonymousContextIsNotKept() {
    PromptPrefixes prefixes = prefixes("64");
    prefixes.context(model, null, 0, context, prefixes.instruction(model, instruction).segment());
    assertThat(prefixes.size()).isZero();
  }

  private boolean read(PromptPrefixes prefixes, String user) {
    return prefixes
        .context(
            model, user, prefixes.version(user), context, prefixes.instruction(model, instruction).segment())
        .cached();
  }

  private static LoggedQuery query(String user) {
    return new LoggedQuery("q", user, null, "dune", Instant.EPOCH, List.of(), false);
  }

  private static PromptPrefixes prefixes(String entries) {
    MapConfigurationPropertySource source = new MapConfigurationPropertySource();
    source.put("attune.suggestion.prefix-entries", entries);
    return new PromptPrefixes(
        new Binder(source).bindOrCreate("attune.suggestion", Bindable.of(SuggestionProperties.class)));
  }
}
