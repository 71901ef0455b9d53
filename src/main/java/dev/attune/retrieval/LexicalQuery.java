package dev.attune.retrieval;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.ArrayList;
import org.apache.lucene.document.DoubleField;
import org.apache.lucene.document.KeywordField;
import org.apache.lucene.index.Term;
import org.apache.lucene.search.BooleanClause;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.CombinedFieldQuery;
import org.apache.lucene.search.DisjunctionMaxQuery;
import org.apache.lucene.search.FuzzyQuery;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.TermQuery;
import org.apache.lucene.util.BytesRef;

/**
 * Turns words into BM25F queries (title, text and further fields count as one weighted field, so that a word's rarity
 * is judged once) and filters into Lucene queries.
 */
final class LexicalQuery {

  static final float TITLE_WEIGHT = 2f;

  private LexicalQuery() {}

  /** Any of the terms, best match first. */
  static Query anyOf(Collection<String> terms) {
    BooleanQuery.Builder query = new BooleanQuery.Builder();
    for (String term : terms) {
      query.add(
          new CombinedFieldQuery.Builder(term)
              .addField(IndexFields.TITLE, TITLE_WEIGHT)
              .addField(IndexFields.TEXT)
              .addField(IndexFields.FIELDS)
              .build(),
          BooleanClause.Occur.SHOULD);
    }
    return query.build();
  }

  /** Terms within one or two typing errors; for queries that nothing matches as they are. */
  static Query similar(Collection<String> terms) {
    BooleanQuery.Builder query = new BooleanQuery.Builder();
    for (String term : terms) {
      int length = term.codePointCount(0, term.length());
      if (length < 4) {
        continue;
      }
      List<Query> fields = new ArrayList<>();
      for (String field : List.of(IndexFields.TITLE, IndexFields.TEXT, IndexFields.FIELDS)) {
        fields.add(new FuzzyQuery(new Term(field, term), length < 8 ? 1 : 2, 1, 20, true));
      }
      query.add(new DisjunctionMaxQuery(fields, 0.1f), BooleanClause.Occur.SHOULD);
    }
    return query.build();
  }

  /** The terms in the text alone: what a snippet marks. */
  static Query inText(Collection<String> terms) {
    BooleanQuery.Builder query = new BooleanQuery.Builder();
    terms.forEach(
        term -> query.add(new TermQuery(new Term(IndexFields.TEXT, term)), BooleanClause.Occur.SHOULD));
    return query.build();
  }

  /** One query per filter; a document must match all of them. */
  static List<Query> filters(Map<String, DocumentIndex.Filter> filters) {
    List<Query> queries = new ArrayList<>();
    filters.forEach(
        (field, filter) ->
            queries.add(
                switch (filter) {
                  case DocumentIndex.Filter.AnyOf(List<String> values) -> KeywordField.newSetQuery(
                      IndexFields.keyword(field),
                      values.stream().map(BytesRef::new).toList());
                  case DocumentIndex.Filter.Range range -> DoubleField.newRangeQuery(
                      IndexFields.number(field),
                      range.gte() == null ? Double.NEGATIVE_INFINITY : range.gte(),
                      range.lte() == null ? Double.POSITIVE_INFINITY : range.lte());
                }));
    return queries;
  }

  /** The query restricted to documents that pass all filters. */
  static Query filtered(Query query, List<Query> filters) {
    if (filters.isEmpty()) {
      return query;
    }
    BooleanQuery.Builder restricted = new BooleanQuery.Builder().add(query, BooleanClause.Occur.MUST);
    filters.forEach(filter -> restricted.add(filter, BooleanClause.Occur.FILTER));
    return restricted.build();
  }
}
