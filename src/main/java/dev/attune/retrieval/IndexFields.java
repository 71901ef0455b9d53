package dev.attune.retrieval;

import java.util.Collection;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.lucene.document.DoubleField;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.FieldType;
import org.apache.lucene.document.KeywordField;
import org.apache.lucene.document.KnnFloatVectorField;
import org.apache.lucene.document.SortedDocValuesField;
import org.apache.lucene.document.StoredField;
import org.apache.lucene.document.StringField;
import org.apache.lucene.document.TextField;
import org.apache.lucene.index.IndexOptions;
import org.apache.lucene.index.VectorSimilarityFunction;
import org.apache.lucene.util.BytesRef;
import org.jspecify.annotations.Nullable;

/**
 * How a document lies in the Lucene index. The fields of documents may hold a string in one document and a number in
 * the next: strings and numbers live in Lucene fields of their own ({@code k:name}, {@code n:name}).
 *
 * <ul>
 *   <li>{@code id} exact, with doc values to order equal scores;
 *   <li>{@code title}, {@code text}, {@code fields} (all strings of the further fields) for BM25;
 *   <li>{@code k:NAME} each string, and each number in its shortest form, for filters and facets;
 *   <li>{@code n:NAME} each number as double, for ranges;
 *   <li>{@code vector} unit vector of title and text; until it is there, {@code pending} is set;
 *   <li>{@code source} stored: the document as JSON, keys sorted; {@code hash} stored: its content hash.
 * </ul>
 */
final class IndexFields {

  static final String ID = "id";
  static final String TITLE = "title";
  static final String TEXT = "text";
  static final String FIELDS = "fields";
  static final String VECTOR = "vector";
  static final String PENDING = "pending";
  static final String SOURCE = "source";
  static final String HASH = "hash";

  /** Longer values are searchable, but are no value to filter by or count. */
  static final int MAX_KEYWORD_CHARS = 1024;

  private static final FieldType TEXT_WITH_OFFSETS = new FieldType(TextField.TYPE_NOT_STORED);

  static {
    TEXT_WITH_OFFSETS.setIndexOptions(IndexOptions.DOCS_AND_FREQS_AND_POSITIONS_AND_OFFSETS);
    TEXT_WITH_OFFSETS.freeze();
  }

  private IndexFields() {}

  static String keyword(String field) {
    return "k:" + field;
  }

  static String number(String field) {
    return "n:" + field;
  }

  /**
   * The Lucene document.
   *
   * @param source the document as JSON
   * @param vector null when there is none yet; the document is then marked as one that needs it
   */
  static org.apache.lucene.document.Document toLucene(Document document, byte[] source, float @Nullable [] vector) {
    var lucene = new org.apache.lucene.document.Document();
    lucene.add(new StringField(ID, document.id(), Field.Store.NO));
    lucene.add(new SortedDocValuesField(ID, new BytesRef(document.id())));
    lucene.add(new TextField(TITLE, document.title(), Field.Store.NO));
    lucene.add(new Field(TEXT, document.text(), TEXT_WITH_OFFSETS));
    List<String> searchable = new ArrayList<>();
    for (Map.Entry<String, Object> field : document.fields().entrySet()) {
      for (Object value : values(field.getValue())) {
        if (value instanceof Number number) {
          lucene.add(new DoubleField(number(field.getKey()), number.doubleValue(), Field.Store.NO));
          lucene.add(new KeywordField(keyword(field.getKey()), canonical(number), Field.Store.NO));
        } else {
          String string = (String) value;
          searchable.add(string);
          if (string.length() <= MAX_KEYWORD_CHARS) {
            lucene.add(new KeywordField(keyword(field.getKey()), string, Field.Store.NO));
          }
        }
      }
    }
    lucene.add(new TextField(FIELDS, String.join("\n", searchable), Field.Store.NO));
    if (vector != null) {
      lucene.add(new KnnFloatVectorField(VECTOR, vector, VectorSimilarityFunction.DOT_PRODUCT));
    } else {
      lucene.add(new StringField(PENDING, "1", Field.Store.NO));
    }
    lucene.add(new StoredField(SOURCE, source));
    lucene.add(new StoredField(HASH, document.contentHash()));
    return lucene;
  }

  /** What the embedder reads of a document. */
  static String embedded(Document document) {
    return (document.title() + " " + document.text()).strip();
  }

  /** The one form in which equal numbers are equal strings: {@code 7} for 7, 7.0 and 7e0. */
  static String canonical(Number number) {
    double value = number.doubleValue();
    return value == Math.rint(value) && Math.abs(value) < 1e15
        ? Long.toString((long) value)
        : Double.toString(value);
  }

  private static Collection<?> values(Object value) {
    return value instanceof Collection<?> many ? many : List.of(value);
  }
}
