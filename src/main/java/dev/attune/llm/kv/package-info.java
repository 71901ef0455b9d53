/**
 * What is kept of keys and values, and how: {@link dev.attune.llm.kv.KvPolicy} names a combination of retention, codec
 * and selection.
 */
@NamedInterface("kv")
@NullMarked
package dev.attune.llm.kv;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.NamedInterface;
