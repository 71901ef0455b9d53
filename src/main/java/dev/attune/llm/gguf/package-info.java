/**
 * Reading GGUF model files: {@link dev.attune.llm.gguf.GgufFile} parses and checks the container,
 * {@link dev.attune.llm.gguf.GgmlType} turns its quantised blocks into floats.
 */
@NullMarked
package dev.attune.llm.gguf;

import org.jspecify.annotations.NullMarked;
