package dev.attune.ranking;

import dev.attune.llm.InferenceBackend;
import dev.attune.llm.KvSegment;
import java.time.Duration;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/**
 * Keeps the keys and values of documents that were read, so that a document is read once. One entry per document and
 * space: a document whose content changed replaces its old entry. Thread-safe.
 */
interface DocumentKvStore extends DocumentKv {

  /**
   * Names the space that is in use from now on, and who can read its entries. Entries of other spaces are of no use any
   * more and make room first.
   */
  void use(String space, InferenceBackend backend);

  /** The entry if it is stored, without being a use of it: what goes first when room is needed stays the same. */
  @Nullable KvSegment peek(Key key);

  /** Whether there is an entry, without touching it. */
  boolean contains(Key key);

  /** Drops every entry of a document except those with this content; null drops them all. */
  void retain(String documentId, @Nullable String contentHash);

  /** Whether something is stored for the document, whatever its content. */
  boolean holds(String documentId);

  /** Whether another entry of the usual size fits without dropping one that can be used. */
  boolean hasRoom();

  /** Begins to look for entries of documents that went away while nobody told the store. */
  Sweep sweep();

  Usage usage();

  /** A look through the documents that there are. */
  interface Sweep {

    /** There is nothing to look for. */
    Sweep NOTHING =
        new Sweep() {
          @Override
          public void keep(String documentId, String contentHash) {}

          @Override
          public int finish() {
            return 0;
          }
        };

    /** There is a document with this content. */
    void keep(String documentId, String contentHash);

    /** Drops what was stored before the sweep and was not kept; returns how many entries. */
    int finish();
  }

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
   * @param documents entries in memory, which are those not on disk
   * @param bytes of these entries
   * @param limit bytes of memory that may be used
   * @param evicted entries dropped from memory to make room, since the start
   * @param stored on disk
   */
  record Usage(int documents, long bytes, long limit, long evicted, Stored stored) {}

  /**
   * How full the disk tier is.
   *
   * @param documents entries on disk
   * @param bytes of the files
   * @param limit most bytes of the files
   * @param evicted entries given up to make room, since the start
   * @param damaged entries that were found damaged and dropped, since the start
   */
  record Stored(int documents, long bytes, long limit, long evicted, long damaged) {

    /** Without a disk tier. */
    static final Stored NONE = new Stored(0, 0, 0, 0, 0);
  }
}
