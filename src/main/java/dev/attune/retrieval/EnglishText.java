package dev.attune.retrieval;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.SequencedSet;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.LowerCaseFilter;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.en.EnglishAnalyzer;
import org.apache.lucene.analysis.en.EnglishPossessiveFilter;
import org.apache.lucene.analysis.en.PorterStemFilter;
import org.apache.lucene.analysis.miscellaneous.ASCIIFoldingFilter;
import org.apache.lucene.analysis.standard.StandardTokenizer;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;

/**
 * English words: lower case, accents folded, Porter stems. Stop words are indexed, so that "It" or "The Who" can be
 * found, and left out of a query that has other words.
 */
final class EnglishText {

  /** Query words beyond this are ignored; far below Lucene's limit of clauses, far above what people type. */
  static final int MAX_QUERY_TERMS = 256;

  private static final int MAX_QUERY_CHARS = 16_384;

  static final Analyzer ANALYZER =
      new Analyzer() {
        @Override
        protected TokenStreamComponents createComponents(String fieldName) {
          StandardTokenizer source = new StandardTokenizer();
          TokenStream words = new LowerCaseFilter(new EnglishPossessiveFilter(source));
          return new TokenStreamComponents(source, new PorterStemFilter(new ASCIIFoldingFilter(words)));
        }

        @Override
        protected TokenStream normalize(String fieldName, TokenStream in) {
          return new ASCIIFoldingFilter(new LowerCaseFilter(in));
        }
      };

  private EnglishText() {}

  /** Distinct terms of a query in the order of their first use. */
  static SequencedSet<String> queryTerms(String query) {
    String cut = query.length() > MAX_QUERY_CHARS ? query.substring(0, MAX_QUERY_CHARS) : query;
    List<String> all = terms(cut);
    SequencedSet<String> content = new LinkedHashSet<>(all);
    content.removeIf(term -> EnglishAnalyzer.ENGLISH_STOP_WORDS_SET.contains(term));
    return content.isEmpty() ? new LinkedHashSet<>(all) : content;
  }

  private static List<String> terms(String text) {
    List<String> terms = new ArrayList<>();
    try (TokenStream stream = ANALYZER.tokenStream(IndexFields.TEXT, text)) {
      CharTermAttribute term = stream.addAttribute(CharTermAttribute.class);
      stream.reset();
      while (terms.size() < MAX_QUERY_TERMS && stream.incrementToken()) {
        terms.add(term.toString());
      }
      // Without end(): the stream may have been left early.
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return terms;
  }
}
