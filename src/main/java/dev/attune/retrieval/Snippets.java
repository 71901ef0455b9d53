package dev.attune.retrieval;

import java.io.IOException;
import java.text.BreakIterator;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.lucene.search.DocIdSetIterator;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.uhighlight.LengthGoalBreakIterator;
import org.apache.lucene.search.uhighlight.Passage;
import org.apache.lucene.search.uhighlight.PassageFormatter;
import org.apache.lucene.search.uhighlight.UnifiedHighlighter;

/**
 * The stretch of a text that shows best why it was found: whole sentences of about 200 characters, HTML-escaped, query
 * words in {@code <mark>}. A text without a query word shows its beginning.
 */
final class Snippets {

  private static final int GOAL_CHARS = 200;

  /** Words later in the text are not marked. */
  private static final int MAX_CHARS = 100_000;

  private Snippets() {}

  /**
   * Makes the snippets of one list.
   *
   * @param documents by Lucene document number
   * @return snippets in the order of {@code docIds}
   */
  static String[] of(
      IndexSearcher searcher, Collection<String> terms, int[] docIds, Map<Integer, Document> documents)
      throws IOException {
    if (docIds.length == 0) {
      return new String[0];
    }
    UnifiedHighlighter.Builder builder =
        UnifiedHighlighter.builder(searcher, EnglishText.ANALYZER)
            .withBreakIterator(
                () ->
                    LengthGoalBreakIterator.createClosestToLength(
                        BreakIterator.getSentenceInstance(Locale.ENGLISH), GOAL_CHARS, 0.5f))
            .withFormatter(new Marked())
            .withMaxNoHighlightPassages(1)
            .withMaxLength(MAX_CHARS);
    String[] snippets =
        new FromSource(builder, documents)
            .highlightFields(
                new String[] {IndexFields.TEXT}, LexicalQuery.inText(terms), docIds.clone(), new int[] {1})
            .get(IndexFields.TEXT);
    for (int i = 0; i < snippets.length; i++) {
      snippets[i] = snippets[i] == null ? "" : snippets[i];
    }
    return snippets;
  }

  static String escape(CharSequence text) {
    StringBuilder escaped = new StringBuilder(text.length() + 16);
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '&' -> escaped.append("&amp;");
        case '<' -> escaped.append("&lt;");
        case '>' -> escaped.append("&gt;");
        case '"' -> escaped.append("&quot;");
        case '\'' -> escaped.append("&#39;");
        default -> escaped.append(c);
      }
    }
    return escaped.toString();
  }

  /** Takes the text from the documents that were read anyway; the index stores it once, inside the source. */
  private static final class FromSource extends UnifiedHighlighter {
    private final Map<Integer, Document> documents;

    FromSource(Builder builder, Map<Integer, Document> documents) {
      super(builder);
      this.documents = documents;
    }

    @Override
    protected List<CharSequence[]> loadFieldValues(String[] fields, DocIdSetIterator docs, int cacheCharsThreshold)
        throws IOException {
      List<CharSequence[]> values = new ArrayList<>();
      for (int doc = docs.nextDoc(); doc != DocIdSetIterator.NO_MORE_DOCS; doc = docs.nextDoc()) {
        Document document = documents.get(doc);
        String text = document == null ? "" : document.text();
        values.add(new CharSequence[] {text.length() > MAX_CHARS ? text.substring(0, MAX_CHARS) : text});
      }
      return values;
    }
  }

  private static final class Marked extends PassageFormatter {
    @Override
    public Object format(Passage[] passages, String content) {
      StringBuilder html = new StringBuilder();
      for (Passage passage : passages) {
        if (!html.isEmpty()) {
          html.append(" … ");
        }
        int position = passage.getStartOffset();
        for (int i = 0; i < passage.getNumMatches(); i++) {
          int start = passage.getMatchStarts()[i];
          int end = Math.min(passage.getMatchEnds()[i], passage.getEndOffset());
          if (start < position || end <= start) {
            continue; // A match inside the one before.
          }
          html.append(escape(content.substring(position, start)))
              .append("<mark>")
              .append(escape(content.substring(start, end)))
              .append("</mark>");
          position = end;
        }
        html.append(escape(content.substring(position, passage.getEndOffset())));
      }
      return html.toString().strip();
    }
  }
}
