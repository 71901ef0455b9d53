/**
 * The Lucene index of documents: BM25, vectors, fusion, filters, facets, highlights.
 */
@ApplicationModule(displayName = "Retrieval", allowedDependencies = {"background", "datadir", "web"})
@NullMarked
package dev.attune.retrieval;

import org.jspecify.annotations.NullMarked;
import org.springframework.modulith.ApplicationModule;
