package dev.attune.llm.tokenizer;

import dev.attune.llm.ModelFileException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** Reads {@code tokenizer.json} (BPE) and what says which token ends a turn. */
final class HuggingFaceTokenizerFiles {

  private static final long MAX_BYTES = 256L << 20;

  private final Path directory;
  private final byte[][] bytes;

  private HuggingFaceTokenizerFiles(Path directory, int vocabulary) {
    this.directory = directory;
    this.bytes = new byte[vocabulary][0];
  }

  static TokenizerParts read(Path directory, int vocabulary) throws IOException {
    return new HuggingFaceTokenizerFiles(directory, vocabulary).read();
  }

  private TokenizerParts read() throws IOException {
    JsonNode json = json("tokenizer.json");
    if (!(json instanceof ObjectNode root) || !(root.path("model") instanceof ObjectNode model)
        || !(model.path("vocab") instanceof ObjectNode vocab)) {
      throw error("tokenizer.json", json == null ? "is missing" : "has no vocabulary");
    }
    String type = model.path("type").asString("BPE");
    if (!type.equals("BPE")) {
      throw error("tokenizer.json", "tokenizer model '" + type + "' is not supported (BPE is)");
    }
    TokenText text =
        root.toString().contains("\"type\":\"ByteLevel\"") ? TokenText.BYTE_LEVEL : TokenText.SENTENCE_PIECE;
    if (text == TokenText.SENTENCE_PIECE && !model.path("byte_fallback").asBoolean(false)) {
      throw error("tokenizer.json", "is neither byte-level BPE nor SentencePiece BPE with bytes for rare characters");
    }
    for (Map.Entry<String, JsonNode> entry : vocab.properties()) {
      bytes[id(entry.getValue())] = text.bytes(entry.getKey());
    }
    Set<String> control = new HashSet<>();
    ArrayNode ordinary = JsonMapper.shared().createArrayNode();
    for (JsonNode token : root.path("added_tokens")) {
      String content = token.path("content").asString("");
      boolean special = token.path("special").asBoolean(false);
      bytes[id(token.path("id"))] = special ? new byte[0] : content.getBytes(StandardCharsets.UTF_8);
      if (special) {
        control.add(content);
      } else {
        ordinary.add(token);
      }
    }
    int endOfTurn = endOfTurn(root);
    // Encoding never adds or cuts tokens here.
    root.putNull("post_processor").putNull("truncation").putNull("padding");
    byte[] withControls = JsonMapper.shared().writeValueAsBytes(root);
    root.set("added_tokens", ordinary);
    control.remove(model.path("unk_token").asString(""));
    vocab.remove(control);
    return new TokenizerParts(JsonMapper.shared().writeValueAsBytes(root), withControls, bytes, endOfTurn);
  }

  private int endOfTurn(JsonNode root) throws IOException {
    JsonNode settings = json("tokenizer_config.json");
    if (settings != null) {
      JsonNode token = settings.path("eos_token");
      String content = token.isObject() ? token.path("content").asString("") : token.asString("");
      for (JsonNode added : root.path("added_tokens")) {
        if (added.path("content").asString("").equals(content)) {
          return id(added.path("id"));
        }
      }
    }
    for (String file : new String[] {"generation_config.json", "config.json"}) {
      JsonNode node = json(file);
      JsonNode token = node == null ? null : node.path("eos_token_id");
      if (token != null && token.isArray() && !token.isEmpty()) {
        token = token.get(0);
      }
      if (token != null && token.isIntegralNumber()) {
        return id(token);
      }
    }
    throw error("tokenizer_config.json", "no file says which token ends a turn (eos_token)");
  }

  private int id(JsonNode node) {
    int id = node.isIntegralNumber() && node.canConvertToInt() ? node.intValue() : -1;
    if (id < 0 || id >= bytes.length) {
      throw error("tokenizer.json", "token id %s is not in the model's vocabulary of %d".formatted(node, bytes.length));
    }
    return id;
  }

  private @Nullable JsonNode json(String name) throws IOException {
    Path path = directory.resolve(name);
    if (!Files.exists(path)) {
      return null;
    }
    if (Files.size(path) > MAX_BYTES) {
      throw error(name, "is too large: " + Files.size(path) + " bytes");
    }
    try {
      return JsonMapper.shared().readTree(Files.readAllBytes(path));
    } catch (JacksonException e) {
      throw error(name, "is not JSON: " + e.getOriginalMessage());
    }
  }

  private static ModelFileException error(String file, String what) {
    return new ModelFileException(file + ": " + what);
  }
}
