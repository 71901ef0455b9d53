/**
 * Reads safetensors files: a JSON header with names, types, shapes and offsets, then the numbers. Every offset is
 * checked before it is used; nothing is executed and nothing is copied.
 */
@NullMarked
package dev.attune.llm.safetensors;

import org.jspecify.annotations.NullMarked;
