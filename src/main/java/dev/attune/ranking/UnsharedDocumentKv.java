package dev.attune.ranking;

import dev.attune.llm.KvSegment;
import dev.attune.ranking.DocumentKvStore.Claim;
import dev.attune.ranking.DocumentKvStore.Key;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * What the store holds, looked at without a use of it, and above it what was read through this object, which nobody
 * else sees. The store is left as it was.
 */
final class UnsharedDocumentKv implements DocumentKv {

  private final DocumentKvStore store;
  private final Map<Key, KvSegment> own = new ConcurrentHashMap<>();

  UnsharedDocumentKv(DocumentKvStore store) {
    this.store = store;
  }

  @Override
  public @Nullable KvSegment find(Key key) {
    KvSegment segment = own.get(key);
    return segment == null ? store.peek(key) : segment;
  }

  @Override
  public Claim claim(Key key) {
    return new Reading(key);
  }

  /** Always the caller's: nobody else reads for this object. */
  private final class Reading implements Claim {
    private final Key key;

    Reading(Key key) {
      this.key = key;
    }

    @Override
    public boolean mine() {
      return true;
    }

    @Override
    public void complete(KvSegment segment) {
      own.put(key, segment);
    }

    @Override
    public void fail() {
      // Nobody waits.
    }

    @Override
    public @Nullable KvSegment await(Duration limit) {
      return own.get(key);
    }
  }
}
