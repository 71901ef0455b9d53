package dev.attune.retrieval;

import java.util.List;

/**
 * Published after documents were committed to the index, in the order of the commits.
 *
 * @param put documents written, also those that were there before with the same content
 * @param deletedIds documents that existed and are gone
 */
public record DocumentsChanged(List<Document> put, List<String> deletedIds) {}
