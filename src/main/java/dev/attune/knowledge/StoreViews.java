package dev.attune.knowledge;

import dev.attune.entity.KnowledgeBase;
import java.util.LinkedHashMap;
import java.util.Map;
import org.springframework.context.event.EventListener;
import org.springframework.stereotype.Component;

/**
 * The stores read last. The version in the database decides whether a cached one is current, so that writes of other
 * replicas count too.
 */
@Component
class StoreViews {

  private final EvidenceStore evidence;
  private final KnowledgeBase knowledge;
  private final KnowledgeProperties properties;
  private final Map<String, Cached> cache;

  private record Cached(long version, long knowledgeVersion, StoreView view) {}

  StoreViews(EvidenceStore evidence, KnowledgeBase knowledge, KnowledgeProperties properties) {
    this.evidence = evidence;
    this.knowledge = knowledge;
    this.properties = properties;
    this.cache = new LinkedHashMap<>(16, 0.75f, true) {
      @Override
      protected boolean removeEldestEntry(Map.Entry<String, Cached> eldest) {
        return size() > properties.cachedUsers();
      }
    };
  }

  StoreView view(String userId, long version) {
    long knowledgeVersion = knowledge.version();
    synchronized (cache) {
      Cached cached = cache.get(userId);
      if (cached != null && cached.version == version && cached.knowledgeVersion == knowledgeVersion) {
        return cached.view;
      }
    }
    StoreView view = StoreView.of(evidence.entities(userId), knowledge, properties.halfLife());
    synchronized (cache) {
      Cached cached = cache.get(userId);
      if (cached == null || cached.version <= version) {
        cache.put(userId, new Cached(version, knowledgeVersion, view));
      }
    }
    return view;
  }

  @EventListener
  void erased(UserErased event) {
    synchronized (cache) {
      cache.remove(event.userId());
    }
  }
}
