/**
 * Byte strings on disk, kept under a space and a document: append-only, memory-mapped, checksummed, bounded. What is
 * in it can be computed again, so damage costs time and never an answer. Knows nothing of models.
 */
@NullMarked
package dev.attune.ranking.segments;

import org.jspecify.annotations.NullMarked;
