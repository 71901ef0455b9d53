/**
 * The backend that every machine has: fp32 arithmetic with the Vector API on a fixed pool of threads.
 *
 * <p>Way of a pass: {@link dev.attune.llm.cpu.CpuBackend} checks and queues it, {@code ForwardPass} runs the layers
 * over a batch of passes, {@code Products} and {@code SequenceAttention} share out its work among the threads, {@code
 * Gemm} multiplies with {@link dev.attune.llm.cpu.PackedMatrix} weights, {@code BlockAttention} attends over context
 * segments and the causal tail.
 *
 * <p><b>Determinism.</b> Every number is computed by the same sequence of operations whatever else is in the batch and
 * whatever the threads do:
 *
 * <ul>
 *   <li>a matrix product accumulates one output over the inputs in ascending order, with fused multiply-adds;
 *   <li>attention walks context segments in the order of {@link dev.attune.llm.KvSegment#contentId}, so the order in
 *       which a caller lists them does not matter;
 *   <li>lane-wise reductions and transcendental functions of the Vector API are not used, since their results may
 *       differ between interpreted and compiled code; {@code Lanes} has its own.
 * </ul>
 */
@NullMarked
package dev.attune.llm.cpu;

import org.jspecify.annotations.NullMarked;
