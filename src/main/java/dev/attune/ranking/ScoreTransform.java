package dev.attune.ranking;

/** What is done to the attention of the signal tokens before it is a document's mass. */
public enum ScoreTransform {
  /** Nothing: BlockRank as published. */
  NONE,
  /**
   * The mass relative to that for a query without content, "N/A": what a document draws by its length and its words
   * alone does not count (the idea of contextual calibration, Zhao et al., arXiv 2102.09690).
   */
  DEBIASED,
  /**
   * A token that draws far more of a head's attention than the mean is taken for a sink: most of what it draws goes to
   * the head's other tokens, in proportion to what they draw (ACT, Yu et al., arXiv 2406.15765, there in all layers).
   */
  SINKS_CALIBRATED,
  /**
   * The same in those heads alone whose attention goes mostly to tokens that are no sinks (VAR, Kang et al., arXiv
   * 2503.03321, who tell sinks by their hidden state and look at images).
   */
  SINKS_REDISTRIBUTED,
  /**
   * What a document gains from layer to layer over the upper half of the layers that are run, summed, instead of its
   * mass at the last one (after the gaze shift of GIFT).
   */
  ACCUMULATED;

  /** Whether each slot must be told apart, which not every backend does. */
  boolean bySlot() {
    return this == SINKS_CALIBRATED || this == SINKS_REDISTRIBUTED;
  }
}
