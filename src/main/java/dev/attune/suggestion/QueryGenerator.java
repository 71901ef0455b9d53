package dev.attune.suggestion;

import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.TextGenerator;
import dev.attune.llm.TextGenerator.Completion;
import dev.attune.llm.TextGenerator.Generation;
import dev.attune.llm.TextGenerator.Options;
import dev.attune.suggestion.PromptPrefixes.Prefix;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.function.BiPredicate;
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;

/** Lets the model write queries about several entities at a time, over a prefix that is read once. */
@Component
class QueryGenerator {

  private final TextGenerator generator;
  private final PromptPrefixes prefixes;
  private final SuggestionProperties properties;
  private volatile @Nullable ModelPrompt prompt;

  QueryGenerator(TextGenerator generator, PromptPrefixes prefixes, SuggestionProperties properties) {
    this.generator = generator;
    this.prefixes = prefixes;
    this.properties = properties;
  }

  /**
   * Reads the prompt up to the entity.
   *
   * @param keptFor user for whom what is read is kept; null if it is not
   */
  Prepared prepare(LanguageModel model, SuggestionContext context, @Nullable String keptFor, long version) {
    SuggestionPrompt text = prompt(model);
    PromptText first = text.instruction();
    PromptText second = text.context(context);
    Prefix instruction = prefixes.instruction(model, first.tokens());
    Prefix around =
        prefixes.context(model, keptFor, version, second.tokens(), instruction.segment());
    int cached = (instruction.cached() ? first.length() : 0) + (around.cached() ? second.length() : 0);
    return new Prepared(
        model, text, first.plus(second), List.of(instruction.segment(), around.segment()), cached);
  }

  /**
   * Writes queries about several entities, all at the same time.
   *
   * @param each called with the queries about a topic as soon as they and those about the topics before it are written;
   *     false ends the call
   */
  void write(Prepared prepared, List<Topic> topics, Duration budget, BiPredicate<Topic, Written> each) {
    List<Topic> written = new ArrayList<>();
    List<LexiconGrammar> grammars = new ArrayList<>();
    List<TextGenerator.Prompt> prompts = new ArrayList<>();
    for (Topic topic : topics) {
      PromptText text = prepared.end(topic);
      if (text == null) {
        // The start is too long.
        continue;
      }
      LexiconGrammar grammar = new LexiconGrammar(topic.start(), topic.words(), topic.focus().label());
      Options options =
          new Options(
              properties.samples(),
              properties.maxTokens(),
              properties.temperature(),
              properties.topP(),
              Arrays.hashCode(text.tokens()),
              List.of("\n"),
              grammar,
              budget);
      written.add(topic);
      grammars.add(grammar);
      prompts.add(new TextGenerator.Prompt(text.tokens(), options));
    }
    @Nullable Written[] outcomes = new Written[prompts.size()];
    int[] next = {0};
    generator.generate(
        prepared.model(),
        prepared.prefix(),
        prompts,
        (i, generation) -> {
          outcomes[i] = written(generation, grammars.get(i));
          for (; next[0] < outcomes.length && outcomes[next[0]] != null; next[0]++) {
            if (!each.test(written.get(next[0]), outcomes[next[0]])) {
              return false;
            }
          }
          return true;
        });
  }

  private static Written written(Generation generation, LexiconGrammar grammar) {
    List<Text> texts = new ArrayList<>();
    for (Completion completion : generation.completions()) {
      String text = grammar.query(completion.text());
      if (text != null && texts.stream().noneMatch(other -> other.text().equals(text))) {
        texts.add(new Text(text, Math.exp(completion.meanLogProbability())));
      }
    }
    texts.sort((a, b) -> Double.compare(b.probability(), a.probability()));
    return new Written(List.copyOf(texts), generation.promptTokens(), generation.cacheBytes());
  }

  private SuggestionPrompt prompt(LanguageModel model) {
    ModelPrompt known = prompt;
    if (known == null || !known.fingerprint().equals(model.fingerprint())) {
      known =
          new ModelPrompt(
              model.fingerprint(), new SuggestionPrompt(model.tokenizer(), properties.promptTokens()));
      prompt = known;
    }
    return known.prompt();
  }

  /**
   * A prompt that is read up to the entity.
   *
   * @param read text of the prefix
   * @param prefix its keys and values
   * @param cachedTokens of those, how many were there before the request
   */
  record Prepared(
      LanguageModel model, SuggestionPrompt prompt, PromptText read, List<KvSegment> prefix, int cachedTokens) {

    /** The end of the prompt about a topic; null when its start is too long. */
    @Nullable PromptText end(Topic topic) {
      return prompt.topic(topic.focus(), topic.start());
    }

    /** Bytes of keys and values of the prefix. */
    long bytes() {
      return prefix.stream().mapToLong(KvSegment::bytes).sum();
    }
  }

  /**
   * What to write queries about.
   *
   * @param start first words of the query, in lower case
   * @param words that it may use
   */
  record Topic(Focus focus, String start, Set<String> words) {}

  /**
   * What was written about one topic.
   *
   * @param texts different ones, most probable first
   * @param promptTokens of the whole prompt
   * @param cacheBytes bytes of keys and values held at its end
   */
  record Written(List<Text> texts, int promptTokens, long cacheBytes) {}

  /**
   * A generated query.
   *
   * @param probability geometric mean over the generated tokens, in [0,1]
   */
  record Text(String text, double probability) {}

  private record ModelPrompt(String fingerprint, SuggestionPrompt prompt) {}
}
