/**
 * K-LaMP query suggestions: prompts, decoding, filters, back-off.
 */
@ApplicationModule(
    displayName = "Suggestions",
    allowedDependencies = {"background", "llm", "knowledge", "entity", "searchlog", "retrieval", "web"})
@NullMarked
package dev.attune.suggestion;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
