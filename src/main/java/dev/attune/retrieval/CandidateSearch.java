package dev.attune.retrieval;

import dev.attune.retrieval.DocumentIndex.Candidate;
import dev.attune.retrieval.DocumentIndex.FacetCount;
import dev.attune.retrieval.DocumentIndex.Mode;
import dev.attune.retrieval.DocumentIndex.RetrievalRequest;
import dev.attune.retrieval.DocumentIndex.RetrievalResult;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.lucene.facet.FacetResult;
import org.apache.lucene.facet.FacetsCollector;
import org.apache.lucene.facet.FacetsCollectorManager;
import org.apache.lucene.facet.LabelAndValue;
import org.apache.lucene.facet.StringDocValuesReaderState;
import org.apache.lucene.facet.StringValueFacetCounts;
import org.apache.lucene.index.FieldInfos;
import org.apache.lucene.search.BooleanClause;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.FieldDoc;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.KnnFloatVectorQuery;
import org.apache.lucene.search.MatchAllDocsQuery;
import org.apache.lucene.search.MatchNoDocsQuery;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.search.Sort;
import org.apache.lucene.search.SortField;
import org.apache.lucene.search.TermInSetQuery;
import org.apache.lucene.search.TopDocs;
import org.apache.lucene.search.TopFieldCollectorManager;
import org.apache.lucene.util.BytesRef;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Answers a {@link RetrievalRequest} from one snapshot of the index. */
final class CandidateSearch {

  private static final Logger log = LoggerFactory.getLogger(CandidateSearch.class);

  private static final int MAX_LIMIT = 500;

  /** Each list that is fused, and each walk of the HNSW graph, is at least this deep. */
  private static final int MIN_DEPTH = 100;

  private static final int MAX_FACET_VALUES = 100;

  private static final Sort BY_SCORE_THEN_ID =
      new Sort(SortField.FIELD_SCORE, new SortField(IndexFields.ID, SortField.Type.STRING));

  private final IndexStore store;
  private final @Nullable Embedder embedder;

  CandidateSearch(IndexStore store, @Nullable Embedder embedder) {
    this.store = store;
    this.embedder = embedder;
  }

  RetrievalResult search(RetrievalRequest request) {
    return store.read(searcher -> search(searcher, request));
  }

  private RetrievalResult search(IndexSearcher searcher, RetrievalRequest request) throws IOException {
    int limit = Math.clamp(request.limit(), 1, MAX_LIMIT);
    int depth = Math.max(limit, MIN_DEPTH);
    Collection<String> terms = EnglishText.queryTerms(request.query());
    List<Query> filters = LexicalQuery.filters(request.filters());
    List<String> degraded = new ArrayList<>();

    boolean browse = request.query().isBlank();
    Query lexicalQuery = new MatchNoDocsQuery();
    Hits lexical = Hits.NONE;
    if (request.mode() != Mode.DENSE || browse) {
      lexicalQuery = browse ? MatchAllDocsQuery.INSTANCE : LexicalQuery.anyOf(terms);
      lexical = hits(searcher, LexicalQuery.filtered(lexicalQuery, filters), depth);
    }
    Hits dense = Hits.NONE;
    if (request.mode() != Mode.LEXICAL && hasMeaning(request.query())) {
      dense = nearest(searcher, request.query(), filters, depth, degraded);
    }
    if (lexical.docs().isEmpty() && request.mode() != Mode.DENSE && !browse) {
      lexicalQuery = LexicalQuery.similar(terms);
      lexical = hits(searcher, LexicalQuery.filtered(lexicalQuery, filters), depth);
    }

    List<RankFusion.Fused<Integer>> ranking =
        switch (request.mode()) {
          case LEXICAL -> lexical.ranking();
          case DENSE -> browse ? lexical.ranking() : dense.ranking();
          case HYBRID -> dense == Hits.NONE
              ? lexical.ranking()
              : RankFusion.fuse(List.of(lexical.docs(), dense.docs()));
        };
    ranking = ranking.subList(0, Math.min(limit, ranking.size()));

    Query matching = lexicalQuery;
    long total = lexical.total();
    if (!dense.docs().isEmpty()) {
      matching = either(lexicalQuery, ids(searcher, dense.docs()));
      total = searcher.count(LexicalQuery.filtered(matching, filters));
    }
    return new RetrievalResult(
        total,
        candidates(searcher, terms, ranking, lexical, dense),
        facets(searcher, LexicalQuery.filtered(matching, filters), request.facets()),
        degraded);
  }

  /** Emoji and punctuation mean nothing to the embedding model: everything would be equally near. */
  private static boolean hasMeaning(String query) {
    return query.codePoints().anyMatch(Character::isLetterOrDigit);
  }

  private static Hits hits(IndexSearcher searcher, Query query, int depth) throws IOException {
    int docs = searcher.getIndexReader().maxDoc();
    if (docs == 0) {
      return Hits.NONE;
    }
    TopDocs top =
        searcher.search(query,
            new TopFieldCollectorManager(BY_SCORE_THEN_ID, Math.min(depth, docs), Integer.MAX_VALUE));
    List<Integer> order = new ArrayList<>();
    Map<Integer, Double> scores = new HashMap<>();
    for (ScoreDoc hit : top.scoreDocs) {
      order.add(hit.doc);
      scores.put(hit.doc, ((Number) ((FieldDoc) hit).fields[0]).doubleValue());
    }
    return new Hits(order, scores, top.totalHits.value());
  }

  /** Nearest neighbours among the documents that pass the filters; empty, and marked, when there is no embedding. */
  private Hits nearest(
      IndexSearcher searcher, String query, List<Query> filters, int depth, List<String> degraded)
      throws IOException {
    if (embedder == null || !FieldInfos.getIndexedFields(searcher.getIndexReader()).contains(IndexFields.ID)) {
      return Hits.NONE;
    }
    float[] vector;
    try {
      vector = embedder.embed(List.of(query)).getFirst();
    } catch (IllegalStateException e) {
      log.warn("Searching without vectors: {}", e.getMessage());
      degraded.add("embedding");
      return Hits.NONE;
    }
    Query filter = null;
    if (!filters.isEmpty()) {
      BooleanQuery.Builder all = new BooleanQuery.Builder();
      filters.forEach(one -> all.add(one, BooleanClause.Occur.FILTER));
      filter = all.build();
    }
    TopDocs top = searcher.search(new KnnFloatVectorQuery(IndexFields.VECTOR, vector, depth, filter), depth);
    List<Integer> order = new ArrayList<>();
    Map<Integer, Double> cosines = new HashMap<>();
    for (ScoreDoc hit : top.scoreDocs) {
      order.add(hit.doc);
      cosines.put(hit.doc, 2.0 * hit.score - 1.0); // Lucene scores a dot product as (1 + dot) / 2.
    }
    return new Hits(order, cosines, order.size());
  }

  private static List<Candidate> candidates(
      IndexSearcher searcher,
      Collection<String> terms,
      List<RankFusion.Fused<Integer>> ranking,
      Hits lexical,
      Hits dense)
      throws IOException {
    Map<Integer, Document> documents = new LinkedHashMap<>();
    for (RankFusion.Fused<Integer> fused : ranking) {
      documents.put(fused.item(), DocumentJson.read(IndexReads.source(searcher, fused.item())));
    }
    int[] docIds = ranking.stream().mapToInt(RankFusion.Fused::item).toArray();
    String[] snippets = Snippets.of(searcher, terms, docIds, documents);
    List<Candidate> candidates = new ArrayList<>();
    for (int i = 0; i < docIds.length; i++) {
      candidates.add(
          new Candidate(
              documents.get(docIds[i]),
              i + 1,
              ranking.get(i).score(),
              lexical.scores().get(docIds[i]),
              dense.scores().get(docIds[i]),
              snippets[i]));
    }
    return candidates;
  }

  private static Map<String, List<FacetCount>> facets(IndexSearcher searcher, Query matching, List<String> fields)
      throws IOException {
    Map<String, List<FacetCount>> facets = new LinkedHashMap<>();
    if (fields.isEmpty()) {
      return facets;
    }
    FacetsCollector collected = searcher.search(matching, new FacetsCollectorManager());
    for (String field : fields) {
      String keyword = IndexFields.keyword(field);
      List<FacetCount> counts = new ArrayList<>();
      if (FieldInfos.getIndexedFields(searcher.getIndexReader()).contains(keyword)) {
        FacetResult result =
            new StringValueFacetCounts(new StringDocValuesReaderState(searcher.getIndexReader(), keyword), collected)
                .getTopChildren(MAX_FACET_VALUES, keyword);
        if (result != null) {
          for (LabelAndValue value : result.labelValues) {
            counts.add(new FacetCount(value.label, value.value.longValue()));
          }
        }
      }
      facets.put(field, List.copyOf(counts));
    }
    return facets;
  }

  private static Query either(Query one, Query other) {
    return new BooleanQuery.Builder()
        .add(one, BooleanClause.Occur.SHOULD)
        .add(other, BooleanClause.Occur.SHOULD)
        .build();
  }

  private static Query ids(IndexSearcher searcher, List<Integer> docs) throws IOException {
    List<BytesRef> ids = new ArrayList<>();
    for (int doc : docs) {
      ids.add(new BytesRef(DocumentJson.read(IndexReads.source(searcher, doc)).id()));
    }
    return new TermInSetQuery(IndexFields.ID, ids);
  }

  /**
   * One list.
   *
   * @param docs Lucene document numbers, best first
   * @param scores of those documents
   * @param total documents that match, also beyond the list
   */
  private record Hits(List<Integer> docs, Map<Integer, Double> scores, long total) {
    static final Hits NONE = new Hits(List.of(), Map.of(), 0);

    List<RankFusion.Fused<Integer>> ranking() {
      return docs.stream().map(doc -> new RankFusion.Fused<>(doc, scores.get(doc))).toList();
    }
  }
}
