package dev.attune.entity;

import dev.attune.datadir.DataDirectory;
import dev.attune.retrieval.Document;
import jakarta.annotation.PostConstruct;
import jakarta.annotation.PreDestroy;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.dao.DataAccessException;
import org.springframework.stereotype.Component;
import org.springframework.transaction.PlatformTransactionManager;
import org.springframework.transaction.TransactionDefinition;
import org.springframework.transaction.TransactionException;
import org.springframework.transaction.support.TransactionTemplate;

/**
 * The knowledge base: rows in PostgreSQL, and a {@link KnowledgeSnapshot} of them in memory that is replaced as a
 * whole after each committed write. Writers take turns; readers never wait.
 */
@Component
class StoredKnowledgeBase implements KnowledgeBase, LinkerOverrides {

  private static final Logger log = LoggerFactory.getLogger(StoredKnowledgeBase.class);
  private static final int IMPORT_BATCH = 10_000;
  private static final Duration RETRY = Duration.ofSeconds(5);

  private final EntityStore entities;
  private final DocumentEntityStore documents;
  private final DocumentFieldReader fields;
  private final DocumentRows documentRows;
  private final EntityProperties properties;
  private final TransactionTemplate transaction;
  private final SegmentBuilder builder;
  private final KnowledgeImage image;
  private final ImageWriter imageWriter;
  private final ReentrantLock writing = new ReentrantLock();
  private final AtomicLong versions = new AtomicLong();
  private final CountDownLatch first = new CountDownLatch(1);
  private volatile State state;
  private @Nullable Thread loader;

  /** The snapshot of a revision of the database; the empty one before the first load has none. */
  private record State(@Nullable UUID revision, KnowledgeSnapshot snapshot) {}

  StoredKnowledgeBase(EntityStore entities, DocumentEntityStore documents, EntityProperties properties,
      CommonWords words, PlatformTransactionManager transactions, DataDirectory directory) {
    this.entities = entities;
    this.documents = documents;
    this.fields = new DocumentFieldReader(properties, words);
    this.documentRows = new DocumentRows(documents);
    this.properties = properties;
    this.transaction = new TransactionTemplate(transactions);
    // What readers see after the call must be committed, whatever the caller does later.
    this.transaction.setPropagationBehavior(TransactionDefinition.PROPAGATION_REQUIRES_NEW);
    this.builder = new SegmentBuilder(words);
    this.image = new KnowledgeImage(directory.room("knowledge"), builder);
    this.imageWriter = new ImageWriter(image);
    this.state = new State(null, KnowledgeSnapshot.empty(builder));
  }

  /** Loads on a thread of its own: the service answers meanwhile. */
  @PostConstruct
  void start() {
    loader = Thread.ofPlatform().name("knowledge-base").daemon().start(this::loadUntilDone);
  }

  private void loadUntilDone() {
    while (!loaded()) {
      try {
        load();
      } catch (DataAccessException | TransactionException e) {
        log.error("The knowledge base could not be loaded; trying again in {} s", RETRY.toSeconds(), e);
        try {
          Thread.sleep(RETRY);
        } catch (InterruptedException stopped) {
          return;
        }
      }
    }
  }

  /** Brings everything into memory: from the image if it is current, else from the database. */
  void load() {
    long started = System.nanoTime();
    writing.lock();
    try {
      transaction.executeWithoutResult(status -> {
        UUID revision = entities.lockRevision();
        Optional<KnowledgeSnapshot> kept = image.read(revision);
        State loaded = new State(revision, kept.orElseGet(this::readAll));
        state = loaded;
        if (kept.isEmpty()) {
          imageWriter.changed(revision, loaded.snapshot);
        }
        log.info("Knowledge base: {} entities loaded from {} in {} ms", loaded.snapshot.size(),
            kept.isPresent() ? "their image" : "the database", (System.nanoTime() - started) / 1_000_000);
      });
      versions.incrementAndGet();
      first.countDown();
    } finally {
      writing.unlock();
    }
  }

  @PreDestroy
  void stop() throws InterruptedException {
    if (loader != null) {
      loader.interrupt();
      loader.join();
    }
    imageWriter.close();
  }

  private KnowledgeSnapshot readAll() {
    List<KnowledgeRow> rows = new ArrayList<>();
    entities.forEach(rows::add);
    KnowledgeSnapshot curated = KnowledgeSnapshot.empty(builder).with(rows, List.of());
    return curated.with(documentRows.all(curated), List.of()).withOverrides(entities.overrides());
  }

  /** Changes the database in a transaction of its own, then lets readers see the outcome. */
  private void write(UnaryOperator<KnowledgeSnapshot> change) {
    awaitLoaded();
    writing.lock();
    try {
      State changed = Objects.requireNonNull(transaction.execute(status -> {
        State before = state;
        // Another service may have written to the same database.
        KnowledgeSnapshot base = entities.lockRevision().equals(before.revision) ? before.snapshot : readAll();
        KnowledgeSnapshot after = change.apply(base);
        return after == before.snapshot ? before : new State(entities.newRevision(), after);
      }));
      if (changed == state) {
        return;
      }
      state = changed;
      versions.incrementAndGet();
      imageWriter.changed(Objects.requireNonNull(changed.revision), changed.snapshot);
    } finally {
      writing.unlock();
    }
  }

  KnowledgeSnapshot snapshot() {
    return state.snapshot;
  }

  @Override
  public boolean loaded() {
    return first.getCount() == 0;
  }

  @Override
  public void awaitLoaded() {
    try {
      first.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("Interrupted while the knowledge base was loading");
    }
  }

  @Override
  public Optional<Entity> find(String id) {
    return Optional.ofNullable(snapshot().find(id));
  }

  @Override
  public Map<String, Entity> findAll(Collection<String> ids) {
    KnowledgeSnapshot current = snapshot();
    Map<String, Entity> found = new LinkedHashMap<>();
    for (String id : ids) {
      Entity entity = current.find(id);
      if (entity != null) {
        found.put(id, entity);
      }
    }
    return found;
  }

  @Override
  public String canonicalId(String id) {
    return snapshot().canonical(id);
  }

  @Override
  public List<Entity.Neighbour> neighbours(String id) {
    return snapshot().neighbours(id, properties.maxNeighbours());
  }

  @Override
  public Collection<String> statedNeighbours(String id) {
    KnowledgeSnapshot current = snapshot();
    return current.statedNeighbours(current.canonical(id));
  }

  @Override
  public long version() {
    return versions.get();
  }

  @Override
  public int degree(String id) {
    return snapshot().degree(id);
  }

  @Override
  public List<Entity.Neighbour> ofDocument(String documentId) {
    String type = properties.documentFields().get("title");
    if (type == null) {
      return List.of();
    }
    KnowledgeSnapshot current = snapshot();
    KnowledgeSnapshot.Found main = current.locate(DocumentFieldReader.mainId(type, documentId));
    if (main == null) {
      return List.of();
    }
    Map<String, Entity.Neighbour> found = new LinkedHashMap<>();
    String mainId = current.canonical(main.id());
    found.put(mainId, new Entity.Neighbour(mainId, "title"));
    KnowledgeSegment segment = main.part().segment();
    for (int rank = 0; rank < segment.neighbourCount(main.row()); rank++) {
      String id = current.canonical(segment.neighbourId(main.row(), rank));
      found.putIfAbsent(id, new Entity.Neighbour(id, segment.relation(main.row(), rank)));
    }
    return List.copyOf(found.values());
  }

  @Override
  public List<Entity> complete(String prefix, int limit) {
    return snapshot().complete(prefix, limit);
  }

  @Override
  public int size() {
    return snapshot().size();
  }

  @Override
  public KnowledgeBaseStats stats() {
    return snapshot().stats();
  }

  @Override
  public int importAll(String source, Stream<Entity> imported) {
    if (source.equals(KnowledgeRow.DOCUMENTS)) {
      throw new IllegalArgumentException("the source 'documents' is kept for entities derived from documents");
    }
    Map<String, Entity> batch = new LinkedHashMap<>();
    int[] written = {0};
    imported.forEach(entity -> {
      batch.put(entity.id(), entity);
      if (batch.size() >= IMPORT_BATCH) {
        written[0] += importBatch(source, batch);
      }
    });
    return written[0] + importBatch(source, batch);
  }

  private int importBatch(String source, Map<String, Entity> batch) {
    if (batch.isEmpty()) {
      return 0;
    }
    List<Entity> rows = List.copyOf(batch.values());
    write(current -> {
      entities.replace(source, rows);
      return curated(current, rows.stream().map(entity -> new KnowledgeRow(entity, source, null)).toList(), List.of());
    });
    int written = batch.size();
    batch.clear();
    return written;
  }

  @Override
  public boolean removeImported(String id) {
    return remove(() -> entities.delete(id)) > 0;
  }

  @Override
  public int removeSource(String source) {
    return remove(() -> entities.deleteSource(source));
  }

  /** @param delete deletes rows of the database and answers their ids */
  private int remove(Supplier<List<String>> delete) {
    int[] removed = {0};
    write(current -> {
      List<String> ids = delete.get();
      removed[0] = ids.size();
      return ids.isEmpty() ? current : curated(current, List.of(), ids);
    });
    return removed[0];
  }

  /** The state after curated rows came or went; entities of documents with their names follow. */
  private KnowledgeSnapshot curated(KnowledgeSnapshot before, List<KnowledgeRow> put, List<String> deletedIds) {
    Set<String> names = new HashSet<>();
    put.forEach(row -> names.add(TextTokens.nameKey(row.entity().label())));
    Stream.concat(put.stream().map(KnowledgeRow::id), deletedIds.stream()).forEach(id -> {
      Entity entity = before.find(id);
      if (entity != null) {
        names.add(TextTokens.nameKey(entity.label()));
      }
    });
    KnowledgeSnapshot changed = before.with(put, deletedIds);
    return changed.with(documentRows.resolvedAgain(names, changed), List.of());
  }

  /** Makes the entities of the given documents follow from what the documents say now. */
  void replaceDocuments(List<Document> put, Collection<String> deletedIds) {
    if (properties.documentFields().isEmpty() || put.isEmpty() && deletedIds.isEmpty()) {
      return;
    }
    Map<String, List<DocumentEntity>> rows = new HashMap<>();
    put.forEach(document -> rows.put(document.id(), fields.read(document)));
    Set<String> documentIds = new HashSet<>(deletedIds);
    documentIds.addAll(rows.keySet());
    write(current -> {
      Set<String> touched = documents.delete(documentIds);
      List<DocumentEntity> added = rows.values().stream().flatMap(List::stream).toList();
      documents.insert(added);
      added.forEach(row -> touched.add(row.entityId()));
      return touched.isEmpty() ? current : documentRows.apply(current, touched, added);
    });
  }

  /** Ids of all documents whose fields were read. */
  Set<String> knownDocuments() {
    return documents.documentIds();
  }

  @Override
  public void put(String alias, @Nullable String entityId) {
    String key = TextTokens.matchKey(alias);
    if (key.isEmpty()) {
      throw new IllegalArgumentException("alias must have a letter or a digit");
    }
    if (entityId != null && snapshot().locate(entityId) == null) {
      throw new IllegalArgumentException("there is no entity with the id " + entityId);
    }
    write(current -> {
      entities.putOverride(key, entityId);
      return current.withOverrides(entities.overrides());
    });
  }

  @Override
  public boolean remove(String alias) {
    boolean[] removed = {false};
    write(current -> {
      removed[0] = entities.deleteOverride(TextTokens.matchKey(alias));
      return current.withOverrides(entities.overrides());
    });
    return removed[0];
  }

  @Override
  public String normalised(String alias) {
    return TextTokens.matchKey(alias);
  }

  @Override
  public Map<String, Optional<String>> all() {
    return snapshot().overrides();
  }
}
