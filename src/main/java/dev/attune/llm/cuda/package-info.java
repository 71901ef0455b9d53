/**
 * The backend for NVIDIA GPUs: own kernels, compiled at run time by NVRTC from the {@code .cu} resources beside this
 * package, called through the foreign function interface; no native code is built or shipped.
 *
 * <p>Way of a pass: {@link dev.attune.llm.cuda.CudaBackend} checks and queues it; {@code BatchPlan} lays out tokens,
 * key tables and attention items; {@code PrefillEngine} runs many tokens, {@code SkinnyEngine} few, as a captured
 * graph. The only classes that call native code are {@code NativeLibraries}, {@code CudaDriver}, {@code Nvrtc} and
 * {@code CublasLt}.
 *
 * <p><b>Determinism.</b> Which engine runs a pass, how attention is split, and the order of every sum depend on the
 * pass alone: not on what else is in the batch, and not on the order in which a context is listed.
 */
@NullMarked
package dev.attune.llm.cuda;

import org.jspecify.annotations.NullMarked;
