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
   * A token that draws far more than the mean is taken for a sink and counts as much as the bound, after the attention
   * calibration of Yu et al. (ACT, arXiv 2406.15765). Theirs works on each head; here it is the mean over heads.
   */
  SINKS_BOUNDED,
  /**
   * What a document gains from layer to layer over the upper half of the layers that are run, summed, instead of its mass
   * at the last one (after the gaze shift of GIFT).
   */
  ACCUMULATED
}
