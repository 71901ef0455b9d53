package dev.attune.search;

import dev.attune.entity.EntityLinker;
import dev.attune.entity.KnowledgeBase;
import dev.attune.entity.LinkContext;
import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentsChanged;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.springframework.context.event.EventListener;
import org.springframework.stereotype.Component;

/**
 * The entities that a document is about: those that its fields name and those that its title and the beginning of its
 * text mention. Independent of any user; the most recently used are kept.
 */
@Component
class DocumentEntities {

  /** Later mentions in a long text say little about what it is about. */
  private static final int TEXT = 1_000;

  private final KnowledgeBase knowledgeBase;
  private final EntityLinker linker;
  private final Map<String, Set<String>> kept;

  DocumentEntities(KnowledgeBase knowledgeBase, EntityLinker linker, SearchProperties properties) {
    this.knowledgeBase = knowledgeBase;
    this.linker = linker;
    this.kept =
        Collections.synchronizedMap(
            new LinkedHashMap<>(256, 0.75f, true) {
              @Override
              protected boolean removeEldestEntry(Map.Entry<String, Set<String>> eldest) {
                return size() > properties.documentEntities();
              }
            });
  }

  Set<String> of(Document document) {
    // Entities read before the knowledge base or a correction of the linker changed are read again.
    String key = knowledgeBase.version() + " " + document.id();
    Set<String> known = kept.get(key);
    if (known == null) {
      known = read(document);
      kept.put(key, known);
    }
    return known;
  }

  @EventListener
  void onDocumentsChanged(DocumentsChanged changed) {
    synchronized (kept) {
      Set<String> gone = new LinkedHashSet<>(changed.deletedIds());
      changed.put().forEach(document -> gone.add(document.id()));
      kept.keySet().removeIf(key -> gone.contains(key.substring(key.indexOf(' ') + 1)));
    }
  }

  private Set<String> read(Document document) {
    Set<String> ids = new LinkedHashSet<>();
    knowledgeBase.ofDocument(document.id()).forEach(neighbour -> ids.add(neighbour.id()));
    String text = document.text().substring(0, Math.min(TEXT, document.text().length()));
    for (String part : List.of(document.title(), text)) {
      linker.link(part, LinkContext.NONE).forEach(mention -> ids.add(mention.entityId()));
    }
    Set<String> canonical = new LinkedHashSet<>();
    ids.forEach(id -> canonical.add(knowledgeBase.canonicalId(id)));
    return Set.copyOf(canonical);
  }
}
