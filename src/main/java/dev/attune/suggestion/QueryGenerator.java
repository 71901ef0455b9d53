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
import org.jspecify.annotations.Nullable;
import org.springframework.stereotype.Component;

/** Lets the model write queries about one entity at a time, over a prefix that is read once. */
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

  /** Reads the prompt up to the entity. */
  Prepared prepare(LanguageModel model, SuggestionContext context, long version) {
    SuggestionPrompt text = prompt(model);
    PromptText first = text.instruction();
    PromptText second = text.context(context);
    Prefix instruction = prefixes.instruction(model, first.tokens());
    Prefix around =
        prefixes.context(model, context.userId(), version, second.tokens(), instruction.segment());
    int cached = (instruction.cached() ? first.length() : 0) + (around.cached() ? second.length() : 0);
    return new Prepared(
        model, text, first.plus(second), List.of(instruction.segment(), around.segment()), cached);
  }

  /**
   * Writes queries about an entity.
   *
   * @param start first words of the query, in lower case
   * @param words that it may use
   * @return different texts, most probable first; empty when the start is too long
   */
  Written write(Prepared prepared, Focus focus, String start, Set<String> words, Duration budget) {
    PromptText topic = prepared.prompt().topic(focus, start);
    if (topic == null) {
      return new Written(List.of(), 0, 0);
    }
    LexiconGrammar grammar = new LexiconGrammar(start, words, focus.label());
    Options options =
        new Options(
            properties.samples(),
            properties.maxTokens(),
            properties.temperature(),
            properties.topP(),
            Arrays.hashCode(topic.tokens()),
            List.of("\n"),
            grammar,
            budget);
    Generation generation = generator.generate(prepared.model(), prepared.prefix(), topic.tokens(), options);
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

    /** Bytes of keys and values of the prefix. */
    long bytes() {
      return prefix.stream().mapToLong(KvSegment::bytes).sum();
    }
  }

  /**
   * What one call wrote.
   *
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
