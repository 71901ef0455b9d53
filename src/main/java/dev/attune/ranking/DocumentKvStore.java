package dev.attune.ranking;

import dev.attune.llm.KvSegment;
import java.time.Duration;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/**
 * Keeps the keys and values of documents that were read, so that a document is read once. One entry per document and
 * space: a document whose content changed replaces its old entry. Thread-safe.
 *
 * <p>{@link #claim} may look further than memory (a slower tier), {@link #find} never does.
 */
interface DocumentKvStore {

  /** The entry if it is in memory. */
  @Nullable KvSegment find(Key key);

  /** Takes on the reading of a document, unless it is stored or somebody else is reading it at this moment. */
  Claim claim(Key key);

  /** Drops every entry of a document except those with this content; null drops them all. */
  void retain(String documentId, @Nullable String contentHash);

  /** Whether something is stored for the document, whatever its content. */
  boolean holds(String documentId);

  Usage usage();

  /**
   * Names an entry.
   *
   * @param space fingerprint of everything else that the entry depends on: model, instruction block, layer, codec
   * @param contentHash {@link BlockPrompt#contentHash}
   */
  record Key(String space, String documentId, String contentHash) {}

  /** A document being read, or read already. */
  interface Claim {

    /** True for the one caller that must read the document and call {@link #complete} or {@link #fail}. */
    boolean mine();

    /** Stores the entry and hands it to everybody who waits for it. */
    void complete(KvSegment segment);

    /** Gives up; those who wait get null and may claim again. */
    void fail();

    /**
     * Waits for the entry.
     *
     * @return null when the reader gave up
     */
    @Nullable KvSegment await(Duration limit) throws TimeoutException, InterruptedException;
  }

  /**
   * How full the store is.
   *
   * @param documents entries in memory
   * @param bytes of these entries
   * @param limit bytes that may be used
   * @param evicted entries dropped to make room, since the start
   */
  record Usage(int documents, long bytes, long limit, long evicted) {}
}
