package dev.attune.entity;

import dev.attune.retrieval.Document;
import dev.attune.retrieval.DocumentIndex;
import dev.attune.retrieval.DocumentsChanged;
import jakarta.annotation.PreDestroy;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.context.event.EventListener;
import org.springframework.stereotype.Component;

/** Lets the entities of documents follow the document index. */
@Component
class DocumentEntityListener {

  private static final Logger log = LoggerFactory.getLogger(DocumentEntityListener.class);
  private static final int BATCH = 1_000;

  private final StoredKnowledgeBase knowledge;
  private final ObjectProvider<DocumentIndex> index;
  private volatile boolean stopping;
  private @Nullable Thread worker;

  DocumentEntityListener(StoredKnowledgeBase knowledge, ObjectProvider<DocumentIndex> index) {
    this.knowledge = knowledge;
    this.index = index;
  }

  @EventListener
  void documentsChanged(DocumentsChanged change) {
    knowledge.replaceDocuments(change.put(), change.deletedIds());
  }

  /** Catches up after an end between the index's commit and ours, or when the index was replaced. */
  @EventListener(ApplicationReadyEvent.class)
  void begin() {
    worker = Thread.ofPlatform().name("document-entities").daemon().start(this::catchUp);
  }

  @PreDestroy
  void stop() throws InterruptedException {
    stopping = true;
    if (worker != null) {
      worker.join();
    }
  }

  private void catchUp() {
    try {
      readMissing();
    } catch (RuntimeException e) {
      log.error("Entities of documents could not be brought up to date; the next start tries again", e);
    }
  }

  private void readMissing() {
    index.ifAvailable(documents -> {
      Set<String> known = knowledge.knownDocuments();
      Set<String> gone = new HashSet<>(known);
      List<Document> missing = new ArrayList<>();
      int[] read = {0};
      documents.forEach(document -> {
        if (stopping) {
          return;
        }
        gone.remove(document.id());
        if (!known.contains(document.id())) {
          missing.add(document);
        }
        if (missing.size() >= BATCH) {
          read[0] += missing.size();
          knowledge.replaceDocuments(List.copyOf(missing), List.of());
          missing.clear();
        }
      });
      if (stopping) {
        return;
      }
      read[0] += missing.size();
      knowledge.replaceDocuments(missing, gone);
      if (read[0] > 0 || !gone.isEmpty()) {
        log.info("Entities of documents: read {} documents, forgot {}", read[0], gone.size());
      }
    });
  }
}
