package dev.attune.llm.tokenizer;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import dev.attune.llm.Tokenizer;
import dev.attune.llm.gguf.GgufFile;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Byte-level BPE with the vocabulary of a GGUF file; the merging is Hugging Face's library.
 *
 * <p>Two tokenizers are kept: the one for user text has no control tokens in its vocabulary, so no text whatever can
 * make it produce one.
 */
public final class ByteLevelTokenizer implements Tokenizer, AutoCloseable {

  private static final int CONTROL = 3;

  private final HuggingFaceTokenizer plain;
  private final HuggingFaceTokenizer withControls;
  /** Bytes of each id; empty for control tokens. */
  private final byte[][] bytes;
  private final int endOfTurn;

  private ByteLevelTokenizer(
      HuggingFaceTokenizer plain, HuggingFaceTokenizer withControls, byte[][] bytes, int endOfTurn) {
    this.plain = plain;
    this.withControls = withControls;
    this.bytes = bytes;
    this.endOfTurn = endOfTurn;
  }

  /**
   * Builds the tokenizer of a model file.
   *
   * @throws dev.attune.llm.ModelFileException when the file's tokenizer is of another kind or incomplete
   */
  public static ByteLevelTokenizer of(GgufFile file) {
    String model = file.text("tokenizer.ggml.model");
    if (!model.equals("gpt2")) {
      throw file.error("tokenizer model '" + model + "' is not supported (gpt2, byte-level BPE, is)");
    }
    List<String> vocabulary = file.texts("tokenizer.ggml.tokens");
    List<Long> types = file.integers("tokenizer.ggml.token_type");
    if (types.size() != vocabulary.size()) {
      throw file.error("tokenizer has %d tokens but %d token types".formatted(vocabulary.size(), types.size()));
    }
    int endOfTurn = file.integer("tokenizer.ggml.eos_token_id");
    if (endOfTurn < 0 || endOfTurn >= vocabulary.size()) {
      throw file.error("end-of-turn token " + endOfTurn + " is not in the vocabulary of " + vocabulary.size());
    }
    boolean[] control = new boolean[vocabulary.size()];
    byte[][] bytes = new byte[vocabulary.size()][];
    for (int id = 0; id < control.length; id++) {
      control[id] = types.get(id) == CONTROL;
      bytes[id] = control[id] ? new byte[0] : bytesOf(vocabulary.get(id));
    }
    return new ByteLevelTokenizer(
        load(TokenizerJson.of(file, vocabulary, control, false)),
        load(TokenizerJson.of(file, vocabulary, control, true)),
        bytes,
        endOfTurn);
  }

  private static HuggingFaceTokenizer load(byte[] json) {
    // The library otherwise asks the network for engines and reports its use.
    System.setProperty("ai.djl.offline", "true");
    System.setProperty("OPT_OUT_TRACKING", "true");
    try {
      return HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(json),
          Map.of("addSpecialTokens", "false", "truncation", "false", "padding", "false"));
    } catch (IOException e) {
      throw new UncheckedIOException("The tokenizer library did not accept the model's vocabulary", e);
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
    byte[] all = out.toByteArray();
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

  /** Byte-level BPE writes each byte as a printable character: itself where printable, else from U+0100 on. */
  private static byte[] bytesOf(String token) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    token.codePoints().forEach(c -> {
      int b = c < BYTE_OF.length ? BYTE_OF[c] : -1;
      if (b >= 0) {
        out.write(b);
      } else {
        // Added tokens are plain text.
        out.writeBytes(Character.toString(c).getBytes(StandardCharsets.UTF_8));
      }
    });
    return out.toByteArray();
  }

  private static final int[] BYTE_OF = byteAlphabet();

  private static int[] byteAlphabet() {
    int[] byteOf = new int[0x144];
    Arrays.fill(byteOf, -1);
    int next = 0x100;
    for (int b = 0; b < 256; b++) {
      boolean printable = b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae;
      byteOf[printable ? b : next++] = b;
    }
    return byteOf;
  }
}
