/** Model files, whatever their format: the shape, the weights by one set of names, and where the tokenizer is. */
@NullMarked
package dev.attune.llm.checkpoint;

import org.jspecify.annotations.NullMarked;
