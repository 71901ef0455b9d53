/** The model's tokenizer, built from the vocabulary and merges inside its file. */
@NullMarked
package dev.attune.llm.tokenizer;

import org.jspecify.annotations.NullMarked;
