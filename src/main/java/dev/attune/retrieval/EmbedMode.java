package dev.attune.retrieval;

/** When vectors of documents are computed. */
public enum EmbedMode {
  /** After the write, by a background job: a document is found by its words at once and by its meaning soon. */
  BACKGROUND,
  /** Before the write returns. */
  INLINE,
  /** Not at all: dense retrieval finds nothing, hybrid retrieval is lexical. Another mode makes up for it later. */
  NONE
}
