package dev.attune.llm.generation;

import dev.attune.llm.TextGenerator.Completion;
import dev.attune.llm.TextGenerator.Options;
import dev.attune.llm.Tokenizer;
import dev.attune.llm.kv.KvCache;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/** One continuation while it grows. */
final class Continuation {

  private final Tokenizer tokenizer;
  private final TokenTexts texts;
  private final Options options;
  private final int index;
  private final SplittableRandom random;
  private int[] tokens = {};
  private String text = "";
  /** Whether every token so far ends with a character. */
  private boolean whole = true;
  private double logProbability;
  private boolean open = true;
  private boolean finished;
  /** Keys and values of the prompt and of the tokens so far, all but the last. */
  private final KvCache cache;

  Continuation(TokenTexts texts, Options options, int index, KvCache cache) {
    this.texts = texts;
    this.tokenizer = texts.tokenizer();
    this.options = options;
    this.index = index;
    this.cache = cache;
    this.random = new SplittableRandom(options.seed() * 0x9e3779b97f4a7c15L + index);
  }

  /** Whether it wants another token. */
  boolean open() {
    return open;
  }

  int length() {
    return tokens.length;
  }

  int lastToken() {
    return tokens[tokens.length - 1];
  }

  KvCache cache() {
    return cache;
  }

  /** Chooses the next token and looks whether the text ends with it. */
  void extend(NextTokens next) {
    int token = choose(next);
    if (token < 0) {
      open = false;
      return;
    }
    int[] before = tokens;
    tokens = append(token);
    logProbability += next.logProbability(token);
    if (token == tokenizer.endOfTurn()) {
      open = false;
      finished = true;
      return;
    }
    text = texts.after(before, text, whole, token);
    whole &= texts.whole(token);
    for (String stop : options.stop()) {
      int at = text.indexOf(stop);
      if (at >= 0) {
        text = text.substring(0, at);
        open = false;
        finished = true;
      }
    }
    if (tokens.length >= options.maxTokens()) {
      open = false;
    }
  }

  Completion completion() {
    return new Completion(text, tokens.length == 0 ? 0 : logProbability / tokens.length, finished);
  }

  private int choose(NextTokens next) {
    if (options.temperature() == 0) {
      // The first tokens differ, or all continuations would be the same.
      int skip = tokens.length == 0 ? index : 0;
      int token;
      do {
        token = nextAllowed(next);
      } while (token >= 0 && skip-- > 0);
      return token;
    }
    List<Integer> candidates = new ArrayList<>();
    double seen = 0;
    int token;
    while ((token = next.poll()) >= 0) {
      seen += Math.exp(next.logProbability(token));
      if (allowed(token)) {
        candidates.add(token);
      }
      if (seen >= options.topP() && !candidates.isEmpty()) {
        break;
      }
    }
    return draw(candidates, next);
  }

  private int draw(List<Integer> candidates, NextTokens next) {
    if (candidates.isEmpty()) {
      return -1;
    }
    double[] cumulative = new double[candidates.size()];
    double total = 0;
    double best = next.logProbability(candidates.getFirst());
    for (int i = 0; i < cumulative.length; i++) {
      total += Math.exp((next.logProbability(candidates.get(i)) - best) / options.temperature());
      cumulative[i] = total;
    }
    double point = random.nextDouble() * total;
    int i = 0;
    while (i < cumulative.length - 1 && cumulative[i] <= point) {
      i++;
    }
    return candidates.get(i);
  }

  private int nextAllowed(NextTokens next) {
    int token;
    do {
      token = next.poll();
    } while (token >= 0 && !allowed(token));
    return token;
  }

  private boolean allowed(int token) {
    if (token == tokenizer.endOfTurn()) {
      return options.grammar() == null || options.grammar().mayEndAfter(text);
    }
    if (tokenizer.isControl(token)) {
      return false;
    }
    // A token may end within a character; the text is then judged when the character is whole.
    return options.grammar() == null || options.grammar().allows(texts.after(tokens, text, whole, token));
  }

  private int[] append(int token) {
    int[] longer = Arrays.copyOf(tokens, tokens.length + 1);
    longer[tokens.length] = token;
    return longer;
  }
}
