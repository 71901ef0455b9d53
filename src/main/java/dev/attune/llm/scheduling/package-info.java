/**
 * Shares the model between requests: a queue in front of the backends, in which callers take turns and passes that wait
 * at the same time run as one batch.
 */
@NullMarked
package dev.attune.llm.scheduling;

import org.jspecify.annotations.NullMarked;
