/** Decoding: from next-token logits to text. */
@NullMarked
package dev.attune.llm.generation;

import org.jspecify.annotations.NullMarked;
