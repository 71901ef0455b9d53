package dev.attune.llm.cpu;

import dev.attune.llm.InferenceBackend.Pass;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A pass of a batch: its rows are {@code first} … {@code first + tokens - 1}. */
final class Sequence {

  final Pass pass;
  final int first;
  final int tokens;
  /** Context in the order of content: the order in which sums are taken. */
  final List<CpuKvSegment> context;
  /** What is to be filled in with its keys and values, if they are kept. */
  final @Nullable CpuKvSegment kept;

  Sequence(Pass pass, int first, @Nullable CpuKvSegment kept) {
    this.pass = pass;
    this.first = first;
    this.tokens = pass.tokens().length;
    this.context = CpuBackend.inContentOrder(pass.context());
    this.kept = kept;
  }
}
