package dev.attune.ranking;

import dev.attune.llm.LanguageModel;
import java.util.List;

/**
 * The blocks of a ranking prompt as token ids, for tools that train a ranking model or check one outside of the
 * service.
 */
public final class PromptTokens {

  private final BlockPrompt prompt;
  private final int layer;
  private final int lastPosition;
  private final double keptShare;

  private PromptTokens(BlockPrompt prompt, int layer, int lastPosition, double keptShare) {
    this.prompt = prompt;
    this.layer = layer;
    this.lastPosition = lastPosition;
    this.keptShare = keptShare;
  }

  static PromptTokens of(LanguageModel model, RankingProperties properties) {
    BlockPrompt prompt = new BlockPrompt(model.tokenizer(), properties);
    return new PromptTokens(
        prompt,
        properties.layer(),
        Math.min(properties.lastPosition(), model.config().context() - prompt.longestLast()),
        properties.keptTokens());
  }

  /** The instruction block, at RoPE position 0. */
  public int[] instruction() {
    return prompt.instruction("");
  }

  /** The block of a document, at the RoPE position after the instruction. */
  public int[] document(String title, String text) {
    return prompt.document(title, text);
  }

  /** Which tokens of a document's block the service keeps at a share of them, in (0,1]; ascending. */
  public int[] kept(int[] document, double share) {
    return prompt.keptTokens(document, share);
  }

  /** The share that the settings ask for, in (0,1]. */
  public double keptShare() {
    return keptShare;
  }

  /** The last block, at {@link #lastPosition}. */
  public Last last(String query, List<String> memory) {
    BlockPrompt.LastBlock last = prompt.last(query, memory);
    return new Last(last.tokens(), last.signals());
  }

  /** RoPE position of the last block. */
  public int lastPosition() {
    return lastPosition;
  }

  /** Layer whose attention is the score. */
  public int layer() {
    return layer;
  }

  /**
   * The last block.
   *
   * @param signals indices of the tokens whose attention is the score
   */
  public record Last(int[] tokens, int[] signals) {}

  /** Makes the blocks for a model with the settings of the service. */
  public static final class Factory {
    private final RankingProperties properties;

    Factory(RankingProperties properties) {
      this.properties = properties;
    }

    /** The blocks as this model's tokenizer gives them. */
    public PromptTokens of(LanguageModel model) {
      return PromptTokens.of(model, properties);
    }
  }
}
