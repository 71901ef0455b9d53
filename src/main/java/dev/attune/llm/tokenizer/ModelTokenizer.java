package dev.attune.llm.tokenizer;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import dev.attune.llm.ModelFileException;
import dev.attune.llm.Tokenizer;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.checkpoint.GgufCheckpoint;
import dev.attune.llm.checkpoint.HuggingFaceCheckpoint;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * BPE, byte-level or SentencePiece, with the vocabulary of the model's files; the merging is Hugging Face's library.
 *
 * <p>Ids are those of Hugging Face's tokenizer without special tokens added. SentencePiece writes a space before a text
 * and decoding leaves it there, so that tokens of one text can be decoded one by one.
 *
 * <p>Two tokenizers are kept: the one for user text has no control tokens in its vocabulary, so no text whatever can
 * make it produce one.
 */
public final class ModelTokenizer implements Tokenizer, AutoCloseable {

  private final HuggingFaceTokenizer plain;
  private final HuggingFaceTokenizer withControls;
  /** Bytes of each id; empty for control tokens. */
  private final byte[][] bytes;
  private final int endOfTurn;

  private ModelTokenizer(TokenizerParts parts) {
    this.bytes = parts.bytes();
    this.endOfTurn = parts.endOfTurn();
    this.plain = load(parts.plain());
    try {
      this.withControls = load(parts.withControls());
    } catch (RuntimeException e) {
      plain.close();
      throw e;
    }
  }

  /**
   * Builds the tokenizer of a model.
   *
   * @throws ModelFileException when it is of another kind or incomplete
   */
  public static ModelTokenizer of(Checkpoint checkpoint) throws IOException {
    return new ModelTokenizer(switch (checkpoint) {
      case GgufCheckpoint gguf -> GgufTokenizer.read(gguf.file());
      case HuggingFaceCheckpoint files ->
          HuggingFaceTokenizerFiles.read(files.directory(), files.config().vocabulary());
    });
  }

  private static HuggingFaceTokenizer load(byte[] json) {
    // The library otherwise asks the network for engines and reports its use.
    System.setProperty("ai.djl.offline", "true");
    System.setProperty("OPT_OUT_TRACKING", "true");
    try {
      return HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(json),
          Map.of("addSpecialTokens", "false", "truncation", "false", "padding", "false"));
    } catch (IOException | RuntimeException e) {
      throw new ModelFileException("The tokenizer library did not accept the model's vocabulary: " + e.getMessage(), e);
    }
  }

  @Override
  public int[] encode(String text) {
    return encode(plain, text);
  }

  @Override
  public int[] encodeWithControls(String text) {
    return encode(withControls, text);
  }

  private static int[] encode(HuggingFaceTokenizer tokenizer, String text) {
    if (text.isEmpty()) {
      return new int[0];
    }
    long[] ids = tokenizer.encode(text, false, false).getIds();
    int[] result = new int[ids.length];
    for (int i = 0; i < ids.length; i++) {
      result[i] = Math.toIntExact(ids[i]);
    }
    return result;
  }

  @Override
  public String decode(int[] tokens) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (int token : tokens) {
      out.writeBytes(bytes[token]);
    }
    return complete(out);
  }

  @Override
  public String decodeWithControls(int[] tokens) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (int token : tokens) {
      out.writeBytes(
          isControl(token)
              ? withControls.decode(new long[] {token}, false).getBytes(StandardCharsets.UTF_8)
              : bytes[token]);
    }
    return complete(out);
  }

  private static String complete(ByteArrayOutputStream utf8) {
    byte[] all = utf8.toByteArray();
    return new String(all, 0, completeLength(all), StandardCharsets.UTF_8);
  }

  /** Length without an unfinished UTF-8 sequence at the end. */
  private static int completeLength(byte[] utf8) {
    for (int back = 1; back <= Math.min(3, utf8.length); back++) {
      int b = utf8[utf8.length - back] & 0xff;
      if (b >= 0xc0) {
        int needed = b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : 2;
        return needed > back ? utf8.length - back : utf8.length;
      }
      if (b < 0x80) {
        break;
      }
    }
    return utf8.length;
  }

  @Override
  public int endOfTurn() {
    return endOfTurn;
  }

  @Override
  public boolean isControl(int token) {
    return bytes[token].length == 0;
  }

  @Override
  public int vocabularySize() {
    return bytes.length;
  }

  @Override
  public void close() {
    plain.close();
    withControls.close();
  }
}
