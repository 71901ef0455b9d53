package dev.attune.ranking;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.KvSegment;
import dev.attune.ranking.DocumentKvStore.Claim;
import dev.attune.ranking.DocumentKvStore.Key;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class TieredDocumentKvTest {

  private final TieredDocumentKv store = new TieredDocumentKv(100, null);

  @Test
  void findsWhatWasStored() {
    put("a", "1", 10);
    assertThat(store.find(key("a", "1"))).isNotNull();
    assertThat(store.find(key("a", "2"))).as("other content").isNull();
    assertThat(store.find(new Key("other model", "a", "1"))).isNull();
    assertThat(store.usage()).isEqualTo(usage(1, 10, 100, 0));
  }

  @Test
  void dropsTheLeastRecentlyUsedFirst() {
    put("a", "1", 40);
    put("b", "1", 40);
    store.find(key("a", "1"));
    put("c", "1", 40);
    assertThat(store.find(key("a", "1"))).isNotNull();
    assertThat(store.find(key("b", "1"))).isNull();
    assertThat(store.find(key("c", "1"))).isNotNull();
    assertThat(store.usage()).isEqualTo(usage(2, 80, 100, 1));
  }

  @Test
  void aLookIsNoUse() {
    put("a", "1", 40);
    put("b", "1", 40);
    assertThat(store.peek(key("a", "1"))).isNotNull();
    assertThat(store.peek(key("a", "2"))).as("other content").isNull();
    put("c", "1", 40);
    assertThat(store.peek(key("a", "1"))).isNull();
    assertThat(store.peek(key("b", "1"))).isNotNull();
  }

  @Test
  void whatIsReadUnsharedIsSeenByNobodyElse() {
    put("a", "1", 10);
    UnsharedDocumentKv unshared = new UnsharedDocumentKv(store);
    assertThat(unshared.find(key("a", "1"))).isSameAs(store.find(key("a", "1")));
    Claim claim = unshared.claim(key("b", "1"));
    assertThat(claim.mine()).isTrue();
    assertThat(store.claim(key("b", "1")).mine()).as("others read it themselves").isTrue();
    Segment segment = new Segment(10);
    claim.complete(segment);
    assertThat(unshared.find(key("b", "1"))).isSameAs(segment);
    assertThat(new UnsharedDocumentKv(store).find(key("b", "1"))).isNull();
    assertThat(store.usage()).isEqualTo(usage(1, 10, 100, 0));
  }

  @Test
  void anEntryLargerThanTheStoreIsHandedOutButNotKept() throws Exception {
    Claim claim = store.claim(key("huge", "1"));
    Claim waiting = store.claim(key("huge", "1"));
    claim.complete(new Segment(101));
    assertThat(waiting.await(Duration.ZERO)).isNotNull();
    assertThat(store.usage().documents()).isZero();
  }

  @Test
  void newContentReplacesTheOldEntry() {
    put("a", "1", 40);
    put("a", "2", 30);
    assertThat(store.find(key("a", "1"))).isNull();
    assertThat(store.usage().bytes()).isEqualTo(30);
  }

  @Test
  void retainKeepsOnlyTheNamedContent() {
    put("a", "1", 10);
    put("b", "1", 10);
    store.retain("a", "1");
    assertThat(store.find(key("a", "1"))).isNotNull();
    store.retain("a", "2");
    assertThat(store.find(key("a", "1"))).isNull();
    assertThat(store.holds("a")).isFalse();
    store.retain("b", null);
    assertThat(store.usage()).isEqualTo(usage(0, 0, 100, 0));
  }

  @Test
  void aDocumentDeletedWhileItIsReadIsNotStored() throws Exception {
    Claim claim = store.claim(key("a", "1"));
    assertThat(store.holds("a")).isTrue();
    store.retain("a", null);
    claim.complete(new Segment(10));
    assertThat(claim.await(Duration.ZERO)).isNotNull();
    assertThat(store.find(key("a", "1"))).isNull();
    assertThat(store.usage().documents()).isZero();
  }

  @Test
  void afterAFailureSomebodyElseMayRead() throws Exception {
    Claim first = store.claim(key("a", "1"));
    Claim second = store.claim(key("a", "1"));
    assertThat(first.mine()).isTrue();
    assertThat(second.mine()).isFalse();
    first.fail();
    assertThat(second.await(Duration.ZERO)).isNull();
    assertThat(store.claim(key("a", "1")).mine()).isTrue();
  }

  @Test
  void oneOfManyReadsAndAllGetTheSameSegment() throws Exception {
    int threads = 8;
    AtomicInteger reads = new AtomicInteger();
    CountDownLatch start = new CountDownLatch(1);
    try (ExecutorService pool = Executors.newFixedThreadPool(threads)) {
      List<Future<KvSegment>> results = new ArrayList<>();
      for (int t = 0; t < threads; t++) {
        Callable<KvSegment> task =
            () -> {
              start.await();
              Claim claim = store.claim(key("a", "1"));
              if (claim.mine()) {
                reads.incrementAndGet();
                claim.complete(new Segment(10));
              }
              return claim.await(Duration.ofSeconds(10));
            };
        results.add(pool.submit(task));
      }
      start.countDown();
      KvSegment first = results.getFirst().get();
      for (Future<KvSegment> result : results) {
        assertThat(result.get()).isSameAs(first);
      }
    }
    assertThat(reads).hasValue(1);
  }

  private void put(String id, String hash, long bytes) {
    Claim claim = store.claim(key(id, hash));
    assertThat(claim.mine()).isTrue();
    claim.complete(new Segment(bytes));
  }

  private static DocumentKvStore.Usage usage(int documents, long bytes, long limit, long evicted) {
    return new DocumentKvStore.Usage(documents, bytes, limit, evicted, DocumentKvStore.Stored.NONE);
  }

  private static Key key(String id, String hash) {
    return new Key("model", id, hash);
  }

  /** The store looks at nothing but the size. */
  private record Segment(long bytes) implements KvSegment {
    @Override
    public int tokens() {
      return 1;
    }

    @Override
    public int layers() {
      return 1;
    }

    @Override
    public int firstPosition() {
      return 0;
    }

    public int valueLayers() {
      return 1;
    }

    public long contentId() {
      return bytes;
    }
  }
}
