package dev.attune.retrieval;

import java.util.List;

/** Published after documents were committed to the index. */
public record DocumentsChanged(List<Document> put, List<String> deletedIds) {}
