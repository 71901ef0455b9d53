package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.TextGenerator.Completion;
import dev.attune.llm.TextGenerator.Generation;
import dev.attune.llm.TextGenerator.LineGrammar;
import dev.attune.llm.TextGenerator.Options;
import dev.attune.llm.generation.BatchTextGenerator;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class TextGeneratorTest {

  private static final String QUESTION =
      "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n";
  private static final String LIST =
      "<|im_start|>user\nWrite a short search query about gardening.<|im_end|>\n<|im_start|>assistant\n";

  private final TextGenerator generator = new BatchTextGenerator();

  private Generation generate(LanguageModel model, String prompt, Options options) {
    return generator.generate(model, List.of(), model.tokenizer().encodeWithControls(prompt), options);
  }

  private static Options options(int samples, int maxTokens, double temperature, long seed) {
    return options(samples, maxTokens, temperature, seed, List.of(), null, null);
  }

  private static Options options(
      int samples, int maxTokens, double temperature, long seed, List<String> stop, @Nullable LineGrammar grammar,
      @Nullable Duration budget) {
    return new Options(samples, maxTokens, temperature, 0.9, seed, stop, grammar, budget);
  }

  @Test
  void answersAQuestion() {
    Generation generation = generate(TestModel.get(), QUESTION, options(1, 24, 0, 0));
    Completion completion = generation.completions().getFirst();
    assertThat(completion.text()).contains("Paris");
    assertThat(completion.finished()).isTrue();
    assertThat(completion.meanLogProbability()).isNegative();
    assertThat(generation.promptTokens()).isEqualTo(TestModel.get().tokenizer().encodeWithControls(QUESTION).length);
    assertThat(generation.cachedTokens()).isZero();
    assertThat(generation.cacheBytes()).isPositive();
  }

  /** Decoding step by step over cached keys and values chooses what whole forward passes choose. */
  @Test
  void greedyDecodingIsArgMaxOfFullPasses() {
    LanguageModel model = TestModel.get("full+f32");
    int[] prompt = model.tokenizer().encodeWithControls(LIST);
    String text = generate(model, LIST, options(1, 20, 0, 0)).completions().getFirst().text();
    List<Integer> tokens = new ArrayList<>();
    for (int step = 0; step < 20; step++) {
      int[] all = new int[prompt.length + tokens.size()];
      System.arraycopy(prompt, 0, all, 0, prompt.length);
      for (int i = 0; i < tokens.size(); i++) {
        all[prompt.length + i] = tokens.get(i);
      }
      Pass pass = new Pass(all, 0, List.of(), model.config().layers(), false, Logits.LAST, null);
      int next = GoldenLogitsTest.argMax(model.backend().run(List.of(pass)).getFirst().logits()[0]);
      if (next == model.tokenizer().endOfTurn()) {
        break;
      }
      tokens.add(next);
    }
    assertThat(text).isEqualTo(model.tokenizer().decode(tokens.stream().mapToInt(i -> i).toArray()));
  }

  @Test
  void sameSeedSameTextAndOtherSeedOtherText() {
    LanguageModel model = TestModel.get();
    List<Completion> once = generate(model, LIST, options(4, 16, 1.0, 7)).completions();
    assertThat(generate(model, LIST, options(4, 16, 1.0, 7)).completions()).isEqualTo(once);
    assertThat(generate(model, LIST, options(4, 16, 1.0, 8)).completions()).isNotEqualTo(once);
    assertThat(once.stream().map(Completion::text).distinct().count()).isGreaterThan(1);
  }

  @Test
  void aContinuationDoesNotDependOnThoseBesideIt() {
    LanguageModel model = TestModel.get();
    Completion alone = generate(model, LIST, options(1, 16, 0.8, 3)).completions().getFirst();
    assertThat(generate(model, LIST, options(5, 16, 0.8, 3)).completions().getFirst()).isEqualTo(alone);
  }

  /** Prompts, samples, temperatures and grammars of one batch do not touch each other. */
  @Test
  void aPromptGivesTheSameWhateverIsDecodedBesideIt() {
    LanguageModel model = TestModel.get();
    LineGrammar lowercase = text -> text.matches("[a-z ]*");
    List<TextGenerator.Prompt> prompts = List.of(
        new TextGenerator.Prompt(model.tokenizer().encodeWithControls(QUESTION), options(2, 12, 0, 0)),
        new TextGenerator.Prompt(model.tokenizer().encodeWithControls(LIST),
            options(3, 16, 0.9, 11, List.of(), lowercase, null)),
        new TextGenerator.Prompt(model.tokenizer().encodeWithControls(LIST + "tulip"), options(1, 5, 0.7, 4)));
    Map<Integer, Generation> together = new LinkedHashMap<>();
    generator.generate(model, List.of(), prompts, (prompt, generation) -> together.put(prompt, generation) == null);
    assertThat(together).hasSize(3);
    assertThat(together.keySet()).as("the shortest is handed over first").first().isEqualTo(2);
    together.forEach((prompt, generation) -> assertThat(generation).isEqualTo(generator.generate(
        model, List.of(), prompts.get(prompt).tokens(), prompts.get(prompt).options())));
  }

  @Test
  void nothingMoreIsGeneratedOnceTheListenerHasEnough() {
    LanguageModel model = TestModel.get();
    int[] tokens = model.tokenizer().encodeWithControls(LIST);
    List<TextGenerator.Prompt> prompts = List.of(
        new TextGenerator.Prompt(tokens, options(1, 64, 0.9, 1)),
        new TextGenerator.Prompt(tokens, options(1, 1, 0, 0)));
    List<Integer> finished = new ArrayList<>();
    long before = model.backend().work().tokens();
    generator.generate(model, List.of(), prompts, (prompt, generation) -> {
      finished.add(prompt);
      return false;
    });
    assertThat(finished).containsExactly(1);
    assertThat(model.backend().work().tokens() - before).isEqualTo(2L * tokens.length);
  }

  @Test
  void greedyContinuationsStartDifferently() {
    List<Completion> completions = generate(TestModel.get(), LIST, options(4, 8, 0, 0)).completions();
    assertThat(completions).extracting(Completion::text).doesNotHaveDuplicates();
  }

  @Test
  void stopTextEndsAndIsLeftOut() {
    LanguageModel model = TestModel.get();
    String full = generate(model, QUESTION, options(1, 24, 0, 0)).completions().getFirst().text();
    String stop = full.substring(full.length() / 2, full.length() / 2 + 4);
    Completion cut = generate(model, QUESTION, options(1, 24, 0, 0, List.of(stop), null, null))
        .completions().getFirst();
    assertThat(cut.text()).isEqualTo(full.substring(0, full.indexOf(stop)));
    assertThat(cut.finished()).isTrue();
  }

  @Test
  void lengthCutIsNotFinished() {
    Completion completion = generate(TestModel.get(), LIST, options(1, 2, 0, 0)).completions().getFirst();
    assertThat(completion.finished()).isFalse();
    assertThat(completion.text()).isNotEmpty();
  }

  @Test
  void grammarHoldsForGreedyAndSampledText() {
    LineGrammar lowercaseWords = new LineGrammar() {
      @Override
      public boolean allows(String text) {
        return text.matches("[a-z]+( [a-z]+)* ?") && text.length() <= 30;
      }

      @Override
      public boolean mayEndAfter(String text) {
        return text.length() >= 10;
      }
    };
    for (double temperature : new double[] {0, 1.2}) {
      List<Completion> completions = generate(TestModel.get(), LIST,
          options(3, 12, temperature, 5, List.of(), lowercaseWords, null)).completions();
      assertThat(completions).allSatisfy(completion -> {
        assertThat(completion.text()).matches("[a-z ]{1,30}");
        assertThat(completion.finished() && completion.text().length() < 10).isFalse();
      });
    }
  }

  @Test
  void grammarThatAllowsNothingEndsUnfinished() {
    LineGrammar nothing = new LineGrammar() {
      @Override
      public boolean allows(String text) {
        return false;
      }

      @Override
      public boolean mayEndAfter(String text) {
        return false;
      }
    };
    assertThat(generate(TestModel.get(), LIST, options(2, 4, 0, 0, List.of(), nothing, null)).completions())
        .allSatisfy(completion -> {
          assertThat(completion.text()).isEmpty();
          assertThat(completion.finished()).isFalse();
        });
  }

  @Test
  void spentBudgetCutsButStillAnswers() {
    Generation generation =
        generate(TestModel.get(), LIST, options(2, 64, 0, 0, List.of(), null, Duration.ofNanos(1)));
    assertThat(generation.completions()).hasSize(2).allSatisfy(completion -> {
      assertThat(completion.finished()).isFalse();
      assertThat(completion.text()).isNotEmpty();
    });
  }

  @Test
  void charactersOfSeveralTokensStayWhole() {
    String prompt = "Emoji: 😀🎉🚀😀🎉🚀😀🎉🚀😀🎉";
    for (int length = 1; length <= 6; length++) {
      String text = generate(TestModel.get(), prompt, options(1, length, 0, 0)).completions().getFirst().text();
      assertThat(text).doesNotContain("\uFFFD");
    }
  }

  @Test
  void prefixGivesTheSameTextAsTheWholePrompt() {
    LanguageModel model = TestModel.get("full+f32");
    int[] prompt = model.tokenizer().encodeWithControls(QUESTION);
    int cut = prompt.length / 2;
    Pass pass = new Pass(Arrays.copyOf(prompt, cut), 0, List.of(), model.config().layers(), true,
        Logits.NONE, null);
    KvSegment prefix = Objects.requireNonNull(model.backend().run(List.of(pass)).getFirst().kv());
    Generation generation = generator.generate(
        model, List.of(prefix), Arrays.copyOfRange(prompt, cut, prompt.length), options(1, 16, 0, 0));
    assertThat(generation.completions().getFirst().text())
        .isEqualTo(generate(model, QUESTION, options(1, 16, 0, 0)).completions().getFirst().text());
    assertThat(generation.cachedTokens()).isEqualTo(cut);
    assertThat(generation.promptTokens()).isEqualTo(prompt.length);
  }

  @Test
  void endsAtTheModelsContext() {
    LanguageModel model = TestModel.get();
    int[] prompt = model.tokenizer().encodeWithControls(QUESTION);
    int last = model.config().context() - prompt.length - 3;
    Pass pass = new Pass(new int[] {prompt[0]}, last, List.of(), model.config().layers(), true, Logits.NONE, null);
    KvSegment prefix = Objects.requireNonNull(model.backend().run(List.of(pass)).getFirst().kv());
    Completion completion = generator.generate(model, List.of(prefix), prompt, options(1, 50, 0, 0))
        .completions().getFirst();
    assertThat(completion.finished()).isFalse();
    assertThat(completion.text()).isNotEmpty();
  }

  @Test
  void optionsOutOfRangeAreNamed() {
    assertThatThrownBy(() -> options(0, 1, 0, 0)).hasMessageContaining("samples");
    assertThatThrownBy(() -> options(1, 0, 0, 0)).hasMessageContaining("maxTokens");
    assertThatThrownBy(() -> options(1, 1, -1, 0)).hasMessageContaining("temperature");
    assertThatThrownBy(() -> new Options(1, 1, 1, 0, 0, List.of(), null, null)).hasMessageContaining("topP");
    assertThatThrownBy(() -> options(1, 1, 1, 0, List.of(""), null, null)).hasMessageContaining("stop");
  }
}
