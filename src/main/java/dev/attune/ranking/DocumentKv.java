package dev.attune.ranking;

import dev.attune.llm.KvSegment;
import dev.attune.ranking.DocumentKvStore.Claim;
import dev.attune.ranking.DocumentKvStore.Key;
import org.jspecify.annotations.Nullable;

/** Keys and values of documents as a ranking sees them: found, or taken on to be read. Thread-safe. */
interface DocumentKv {

  /** The entry if it is stored. One on disk is checked at its first use and takes as long as the disk does. */
  @Nullable KvSegment find(Key key);

  /** Takes on the reading of a document, unless it is stored or somebody else is reading it at this moment. */
  Claim claim(Key key);
}
