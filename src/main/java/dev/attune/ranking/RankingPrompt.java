package dev.attune.ranking;

import dev.attune.ranking.Ranker.RankCandidate;
import dev.attune.ranking.Ranker.RankRequest;
import dev.attune.ranking.Ranker.Ranking;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * The prompt of one BlockRank ranking (arXiv 2510.05396, §3.1) as the model was given it, control tokens included, and
 * where the attention went.
 *
 * @param instruction the first block
 * @param documents in the order of the candidates; each sees the instruction and itself
 * @param last the last block, with what the ranker was told of the user; it sees all others
 * @param signals the tokens of the last block whose attention is the score
 * @param layer whose attention it is, counted from 0
 * @param tokens of all blocks that were read
 */
public record RankingPrompt(
    Block instruction, List<DocumentBlock> documents, Block last, List<String> signals, int layer, int tokens) {

  /** Text of a block and its length in tokens. */
  public record Block(String text, int tokens) {}

  /**
   * One document.
   *
   * @param id null for a text that is not in the index
   * @param text of the block, cut as the model saw it
   * @param keptTokens of its tokens, how many the last block sees; fewer than all where the settings drop some
   * @param warm whether its keys and values are in the document store
   * @param attention share of the attention of the signal tokens, summing to 1 over the documents read; null if it was
   *     not read
   */
  public record DocumentBlock(
      @Nullable String id, String title, String text, int tokens, int keptTokens, boolean warm,
      @Nullable Double attention) {}

  /** @param stored whether a candidate is in the document store */
  static RankingPrompt of(
      RankingModel model, double keptShare, RankRequest request, Ranking ranking, Predicate<RankCandidate> stored) {
    BlockPrompt prompt = model.prompt();
    List<DocumentBlock> documents = new ArrayList<>();
    int[] instruction = prompt.instruction(request.query());
    BlockPrompt.LastBlock last = prompt.last(request.query(), request.memory());
    int tokens = instruction.length + last.tokens().length;
    for (int i = 0; i < request.candidates().size(); i++) {
      RankCandidate candidate = request.candidates().get(i);
      int[] document = prompt.document(candidate.title(), candidate.text());
      double mass = ranking.scores()[i];
      boolean read = !Double.isNaN(mass);
      tokens += read ? document.length : 0;
      documents.add(
          new DocumentBlock(
              candidate.id(),
              candidate.title(),
              prompt.text(document),
              document.length,
              keptShare == 1 ? document.length : prompt.keptTokens(document, keptShare).length,
              stored.test(candidate),
              read ? mass : null));
    }
    return new RankingPrompt(
        new Block(prompt.text(instruction), instruction.length),
        List.copyOf(documents),
        new Block(prompt.text(last.tokens()), last.tokens().length),
        Arrays.stream(last.signals()).mapToObj(signal -> prompt.text(new int[] {last.tokens()[signal]})).toList(),
        model.layer(),
        tokens);
  }
}
