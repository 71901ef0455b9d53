package dev.attune.suggestion;

import dev.attune.llm.PromptWords;
import dev.attune.llm.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * The prompt of K-LaMP (arXiv 2311.06318, §3.3) in three pieces, each tokenised on its own so that its keys and values
 * can be kept: the instruction with examples (the same for everybody), the context of one request (memory, session,
 * page, query), and the entity that one suggestion is to be about with the first words of the answer. All text of
 * others is in lower case, as queries are.
 *
 * <pre>{@code
 * <|im_start|>system
 * {instruction}<|im_end|>
 * {examples}<|im_start|>user‖
 * Memory: denis villeneuve (3 times); arrival (once)
 * Before: denis villeneuve; arrival ending explained
 * Page: arrival. taking place after alien crafts land …
 * Searched: science fiction‖
 * Topic: denis villeneuve (person)<|im_end|>
 * <|im_start|>assistant
 * denis villeneuve
 * }</pre>
 *
 * Together never longer than {@code attune.suggestion.prompt-tokens}.
 */
final class SuggestionPrompt {

  private static final String INSTRUCTION =
      """
      <|im_start|>system
      You write the next search query of a person. Use the topic and keep it short.<|im_end|>
      <|im_start|>user
      Memory: christopher nolan (4 times)
      Searched: space movies
      Topic: christopher nolan (person)<|im_end|>
      <|im_start|>assistant
      christopher nolan space movies<|im_end|>
      <|im_start|>user
      Searched: breakfast
      Topic: sourdough (food)<|im_end|>
      <|im_start|>assistant
      sourdough breakfast recipes<|im_end|>
      <|im_start|>user
      Memory: tom hanks (twice)
      Page: saving private ryan
      Searched: war films
      Topic: saving private ryan (work)<|im_end|>
      <|im_start|>assistant
      films like saving private ryan<|im_end|>
      <|im_start|>user""";

  private static final String ANSWER = "<|im_end|>\n<|im_start|>assistant\n";

  private static final int QUERY = 48;
  private static final int PAGE = 48;
  private static final int MEMORY = 64;
  private static final int BEFORE = 40;
  private static final int SESSION = 40;
  private static final int LABEL = 24;
  private static final int TYPE = 6;
  private static final int START = 24;

  private final Tokenizer tokenizer;
  private final int promptTokens;
  private final PromptText instruction;
  private final PromptText topic;
  private final PromptText answer;

  SuggestionPrompt(Tokenizer tokenizer, int promptTokens) {
    this.tokenizer = tokenizer;
    this.promptTokens = promptTokens;
    this.instruction = PromptText.frame(tokenizer, INSTRUCTION);
    this.topic = PromptText.frame(tokenizer, "\nTopic:");
    this.answer = PromptText.frame(tokenizer, ANSWER);
  }

  PromptText instruction() {
    return instruction;
  }

  /** What is known around the request; lines that do not fit are cut, the query last. */
  PromptText context(SuggestionContext context) {
    int room = promptTokens - instruction.length() - topic.length() - LABEL - TYPE - answer.length() - START;
    PromptText searched = line("Searched:", context.query(), QUERY, room);
    room -= searched.length();
    PromptText page =
        context.page() == null
            ? PromptText.EMPTY
            : line("Page:", context.page().title() + ". " + context.page().text(), PAGE, room);
    room -= page.length();
    PromptText memory = line("Memory:", memory(context.focuses()), MEMORY, room);
    room -= memory.length();
    PromptText before =
        context.history().isEmpty()
            ? line("Before:", before(context), BEFORE, room)
            : line("Before:", String.join("; ", context.history()), MEMORY + BEFORE, room);
    room -= before.length();
    PromptText session = line("Session:", String.join("; ", context.session()), SESSION, room);
    PromptText whole = memory.plus(before).plus(session).plus(page).plus(searched);
    // A segment has at least one token.
    return whole.length() > 0 ? whole : PromptText.frame(tokenizer, "\n");
  }

  /**
   * What one suggestion is to be about.
   *
   * @param start first words of the answer; null when they are too long to leave room for more
   */
  @Nullable PromptText topic(Focus focus, String start) {
    if (start.length() > START * PromptWords.CHARACTERS_PER_TOKEN) {
      return null;
    }
    PromptText label = PromptText.plain(tokenizer, focus.label(), LABEL);
    PromptText type = PromptText.plain(tokenizer, "(" + focus.type() + ")", TYPE);
    PromptText first = new PromptText(tokenizer.encode(start), start);
    return first.length() > START ? null : topic.plus(label).plus(type).plus(answer).plus(first);
  }

  private PromptText line(String name, String text, int budget, int room) {
    if (text.isBlank()) {
      return PromptText.EMPTY;
    }
    PromptText frame = PromptText.frame(tokenizer, "\n" + name);
    PromptText content = PromptText.plain(tokenizer, text, Math.min(budget, room - frame.length()));
    return content.length() == 0 ? PromptText.EMPTY : frame.plus(content);
  }

  private static String memory(List<Focus> focuses) {
    return focuses.stream()
        .filter(focus -> focus.count() > 0)
        .map(focus -> focus.label() + " (" + Rationale.times(focus.count()) + ")")
        .collect(Collectors.joining("; "));
  }

  /** A few of the user's own queries about the entities. */
  private static String before(SuggestionContext context) {
    List<String> queries = new ArrayList<>();
    for (String query : context.recent()) {
      if (queries.size() < 4
          && context.focuses().stream().anyMatch(f -> f.count() > 0 && QueryText.mentions(query, f.label()))) {
        queries.add(query);
      }
    }
    return String.join("; ", queries);
  }
}
