package dev.attune.retrieval;

import java.io.IOException;
import java.util.Set;
import org.apache.lucene.index.FloatVectorValues;
import org.apache.lucene.index.KnnVectorValues;
import org.apache.lucene.index.LeafReaderContext;
import org.apache.lucene.index.PostingsEnum;
import org.apache.lucene.index.ReaderUtil;
import org.apache.lucene.index.Term;
import org.apache.lucene.search.DocIdSetIterator;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.util.Bits;
import org.apache.lucene.util.BytesRef;
import org.jspecify.annotations.Nullable;

/** Look-ups of single documents in a snapshot. */
final class IndexReads {

  private static final Set<String> SOURCE_ONLY = Set.of(IndexFields.SOURCE);

  private IndexReads() {}

  /** Lucene's number of the document with this id, or -1. */
  static int docId(IndexSearcher searcher, String id) throws IOException {
    Term term = new Term(IndexFields.ID, id);
    for (LeafReaderContext leaf : searcher.getIndexReader().leaves()) {
      PostingsEnum postings = leaf.reader().postings(term, PostingsEnum.NONE);
      if (postings == null) {
        continue;
      }
      Bits live = leaf.reader().getLiveDocs();
      for (int doc = postings.nextDoc(); doc != DocIdSetIterator.NO_MORE_DOCS; doc = postings.nextDoc()) {
        if (live == null || live.get(doc)) {
          return leaf.docBase + doc;
        }
      }
    }
    return -1;
  }

  /** The stored JSON of a document. */
  static byte[] source(IndexSearcher searcher, int docId) throws IOException {
    BytesRef bytes = searcher.storedFields().document(docId, SOURCE_ONLY).getBinaryValue(IndexFields.SOURCE);
    return BytesRef.deepCopyOf(bytes).bytes;
  }

  /** The stored vector of a document, or null. */
  static float @Nullable [] vector(IndexSearcher searcher, int docId) throws IOException {
    LeafReaderContext leaf =
        searcher.getIndexReader().leaves().get(ReaderUtil.subIndex(docId, searcher.getIndexReader().leaves()));
    FloatVectorValues values = leaf.reader().getFloatVectorValues(IndexFields.VECTOR);
    if (values == null) {
      return null;
    }
    KnnVectorValues.DocIndexIterator iterator = values.iterator();
    int local = docId - leaf.docBase;
    return iterator.advance(local) == local ? values.vectorValue(iterator.index()).clone() : null;
  }
}
