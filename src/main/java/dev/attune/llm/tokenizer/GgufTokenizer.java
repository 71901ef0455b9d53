package dev.attune.llm.tokenizer;

import dev.attune.llm.gguf.GgufFile;
import java.util.List;

/** Reads the tokenizer inside a GGUF file. */
final class GgufTokenizer {

  private static final int UNKNOWN = 2;
  private static final int CONTROL = 3;
  private static final int UNUSED = 5;

  private GgufTokenizer() {}

  static TokenizerParts read(GgufFile file) {
    String model = file.text("tokenizer.ggml.model");
    TokenText text = switch (model) {
      case "gpt2" -> TokenText.BYTE_LEVEL;
      case "llama" -> TokenText.SENTENCE_PIECE;
      default -> throw file.error("tokenizer model '" + model
          + "' is not supported (gpt2, byte-level BPE, and llama, SentencePiece BPE, are)");
    };
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
      long type = types.get(id);
      control[id] = type == CONTROL || type == UNKNOWN || type == UNUSED;
      bytes[id] = control[id] ? new byte[0] : text.bytes(vocabulary.get(id));
    }
    return new TokenizerParts(TokenizerJson.of(file, text, vocabulary, control, false),
        TokenizerJson.of(file, text, vocabulary, control, true), bytes, endOfTurn);
  }
}
