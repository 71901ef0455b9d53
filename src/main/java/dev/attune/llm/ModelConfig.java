package dev.attune.llm;

/**
 * Shape of a decoder-only transformer.
 *
 * @param layers number of blocks
 * @param hidden width of the residual stream
 * @param heads query heads
 * @param kvHeads key/value heads; divides {@code heads}
 * @param headSize width of one head
 * @param feedForward width of the SwiGLU layer
 * @param vocabulary number of token ids
 * @param context longest sequence in tokens that positions were trained for
 * @param ropeTheta base of the rotary frequencies
 * @param ropeScaling how they are stretched
 * @param normEpsilon of RMSNorm
 */
public record ModelConfig(
    String architecture,
    String name,
    int layers,
    int hidden,
    int heads,
    int kvHeads,
    int headSize,
    int feedForward,
    int vocabulary,
    int context,
    double ropeTheta,
    RopeScaling ropeScaling,
    double normEpsilon) {

  /** The same but for the epsilon of RMSNorm. */
  public ModelConfig withNormEpsilon(double epsilon) {
    return new ModelConfig(architecture, name, layers, hidden, heads, kvHeads, headSize, feedForward, vocabulary,
        context, ropeTheta, ropeScaling, epsilon);
  }
}
