/**
 * Model files, tokenizer, transformer forward pass, KV cache and text generation. Knows nothing of ranking or
 * suggestions.
 */
@ApplicationModule(displayName = "Language model", allowedDependencies = {"datadir"})
@NullMarked
package dev.attune.llm;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
