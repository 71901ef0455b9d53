package dev.attune.ranking;

import dev.attune.llm.PromptWords;
import dev.attune.llm.Tokenizer;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.commons.codec.digest.DigestUtils;

/**
 * The blocks of a BlockRank prompt (arXiv 2510.05396, §3.1): instruction, one block per document, last block. Every
 * block is tokenised on its own, so its tokens never depend on its neighbours. Texts of users and documents never
 * become control tokens.
 *
 * <p>The text of the whole prompt, blocks divided by {@code ‖}:
 *
 * <pre>{@code
 * <|im_start|>system
 * You rank documents by how well they answer a query.<|im_end|>
 * <|im_start|>user
 * Read the documents. Then name the one that answers the query best.
 *
 * ‖Document
 * Title: {title}
 * {text}
 *
 * ‖...‖About the user:
 * - {memory line}
 * Query: {query}<|im_end|>
 * <|im_start|>assistant
 * Final Answer: [
 * }</pre>
 */
final class BlockPrompt {

  private static final String INSTRUCTION =
      """
      <|im_start|>system
      You rank documents by how well they answer a query.<|im_end|>
      <|im_start|>user
      Read the documents. Then name the one that answers the query best.
      """;

  private static final String DOCUMENT = "Document\nTitle:";
  private static final String MEMORY = "About the user:\n";
  private static final String QUERY = "Query:";
  private static final String ANSWER = "<|im_end|>\n<|im_start|>assistant\nFinal Answer: [";

  private final Tokenizer tokenizer;
  private final RankingProperties properties;
  private final int[] documentFrame;
  private final int[] newline;
  private final int[] blank;
  private final int[] memoryFrame;
  private final int[] queryFrame;
  private final int[] answerFrame;

  BlockPrompt(Tokenizer tokenizer, RankingProperties properties) {
    this.tokenizer = tokenizer;
    this.properties = properties;
    this.documentFrame = tokenizer.encodeWithControls(DOCUMENT);
    this.newline = tokenizer.encodeWithControls("\n");
    this.blank = tokenizer.encodeWithControls("\n\n");
    this.memoryFrame = tokenizer.encodeWithControls(MEMORY);
    this.queryFrame = tokenizer.encodeWithControls(QUERY);
    this.answerFrame = tokenizer.encodeWithControls(ANSWER);
  }

  /** Whether what is computed for a document holds for every query. */
  boolean documentsOnce() {
    return properties.prompt() == RankingProperties.Prompt.DOCUMENTS_ONCE;
  }

  /** The instruction block; the query is part of it only with {@code query-in-prefix}. */
  int[] instruction(String query) {
    if (documentsOnce()) {
      return tokenizer.encodeWithControls(INSTRUCTION + "\n");
    }
    return join(List.of(
        tokenizer.encodeWithControls(INSTRUCTION + QUERY), cut(query, properties.queryTokens()), blank));
  }

  /** The block of one document: at most {@code document-tokens} tokens, never empty. */
  int[] document(String title, String text) {
    int room = properties.documentTokens() - documentFrame.length - newline.length - blank.length;
    int[] titleTokens = cut(title, room / 2);
    int[] textTokens = cut(text, room - titleTokens.length);
    return join(List.of(documentFrame, titleTokens, newline, textTokens, blank));
  }

  /**
   * The tokens of a document block whose keys and values are kept.
   *
   * @param document of {@link #document}
   * @param share in (0,1]
   */
  int[] keptTokens(int[] document, double share) {
    // Texts have no newlines any more, so the first one ends the title.
    int end = documentFrame.length;
    while (end < document.length && document[end] != newline[0]) {
      end++;
    }
    return KeptTokens.choose(document, Math.min(documentFrame.length, document.length), end, share);
  }

  /** The last block; query and memory are cut so that the signal tokens are always there. */
  LastBlock last(String query, List<String> memory) {
    List<int[]> parts = new ArrayList<>();
    if (!memory.isEmpty()) {
      addMemory(memory, parts);
    }
    parts.add(queryFrame);
    int[] queryTokens = cut(query, properties.queryTokens());
    parts.add(queryTokens);
    int queryEnd = parts.stream().mapToInt(part -> part.length).sum();
    parts.add(answerFrame);
    int[] tokens = join(parts);
    return new LastBlock(
        tokens,
        switch (properties.signals()) {
          // A query without a token leaves the token before it.
          case QUERY -> IntStream.range(queryEnd - Math.max(1, queryTokens.length), queryEnd).toArray();
          case QUERY_END_AND_ANSWER -> new int[] {queryEnd - 1, tokens.length - 1};
        });
  }

  private void addMemory(List<String> memory, List<int[]> parts) {
    int room = properties.memoryTokens() - memoryFrame.length;
    List<int[]> lines = new ArrayList<>();
    for (String line : memory) {
      int[] tokens = join(List.of(cut("- " + line, properties.memoryTokens()), newline));
      if (tokens.length > room) {
        break;
      }
      room -= tokens.length;
      lines.add(tokens);
    }
    if (!lines.isEmpty()) {
      parts.add(memoryFrame);
      parts.addAll(lines);
    }
  }

  /** What a block says, control tokens as they are written. */
  String text(int[] block) {
    return tokenizer.decodeWithControls(block);
  }

  /** The longest last block that can be built. */
  int longestLast() {
    return properties.memoryTokens() + queryFrame.length + properties.queryTokens() + answerFrame.length;
  }

  /** Identifies the frame and the budgets that a document block depends on. */
  String fingerprint() {
    MessageDigest digest = DigestUtils.getSha256Digest();
    for (int[] part : List.of(instruction(""), documentFrame, newline, blank)) {
      ByteBuffer bytes = ByteBuffer.allocate(4 * part.length + 4).putInt(part.length);
      IntStream.of(part).forEach(bytes::putInt);
      digest.update(bytes.array());
    }
    digest.update((byte) (properties.documentTokens() >>> 8));
    digest.update((byte) properties.documentTokens());
    return HexFormat.of().formatHex(digest.digest());
  }

  /** SHA-256 of a document's title and text. */
  static String contentHash(String title, String text) {
    MessageDigest digest = DigestUtils.getSha256Digest();
    digest.update(title.getBytes(StandardCharsets.UTF_8));
    // Cannot occur in UTF-8, so ("a", "bc") and ("ab", "c") differ.
    digest.update((byte) 0xff);
    digest.update(text.getBytes(StandardCharsets.UTF_8));
    return HexFormat.of().formatHex(digest.digest());
  }

  private int[] cut(String text, int budget) {
    return PromptWords.tokens(tokenizer, PromptWords.line(text, budget), budget);
  }

  private static int[] join(List<int[]> parts) {
    return parts.stream().flatMapToInt(IntStream::of).toArray();
  }

  /**
   * The last block.
   *
   * @param signals indices of the tokens whose attention is the score
   */
  record LastBlock(int[] tokens, int[] signals) {}
}
