package dev.attune.llm.tokenizer;

import dev.attune.llm.gguf.GgufFile;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.json.JsonMapper;

/** Writes the tokenizer of a GGUF file in the format of Hugging Face's {@code tokenizer.json}. */
final class TokenizerJson {

  /** How text is cut before merges apply, by {@code tokenizer.ggml.pre}; expressions as in llama.cpp and the models. */
  private static final Map<String, List<Map<String, Object>>> PRE_TOKENIZERS = Map.of(
      "smollm", List.of(Map.of("type", "Digits", "individual_digits", true), byteLevel(true)),
      "default", List.of(byteLevel(true)),
      "gpt-2", List.of(byteLevel(true)),
      "llama-bpe",
      List.of(
          split("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
              + " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
          byteLevel(false)),
      "qwen2",
      List.of(
          split("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
              + " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
          byteLevel(false)));

  private TokenizerJson() {}

  /**
   * Builds the document.
   *
   * @param text how the vocabulary writes tokens
   * @param vocabulary text of each id
   * @param control whether an id is a control token
   * @param withControls whether control tokens are recognised in text; without, they are not even part of the
   *     vocabulary
   */
  static byte[] of(
      GgufFile file, TokenText text, List<String> vocabulary, boolean[] control, boolean withControls) {
    Map<String, Integer> ids = new LinkedHashMap<>();
    List<Map<String, Object>> added = added(vocabulary, control, withControls, ids);
    Map<String, Object> root =
        text == TokenText.BYTE_LEVEL ? byteLevel(file, ids) : SentencePieceJson.of(file, ids, control);
    root.put("version", "1.0");
    root.put("added_tokens", added);
    return JsonMapper.shared().writeValueAsBytes(root);
  }

  private static Map<String, Object> byteLevel(GgufFile file, Map<String, Integer> ids) {
    String pre = file.has("tokenizer.ggml.pre") ? file.text("tokenizer.ggml.pre") : "default";
    List<Map<String, Object>> preTokenizers = PRE_TOKENIZERS.get(pre);
    if (preTokenizers == null) {
      throw file.error("pre-tokenizer '%s' is not supported (%s are)"
          .formatted(pre, PRE_TOKENIZERS.keySet().stream().sorted().toList()));
    }
    Map<String, Object> model = new LinkedHashMap<>();
    model.put("type", "BPE");
    model.put("vocab", ids);
    model.put("merges", file.texts("tokenizer.ggml.merges"));
    Map<String, Object> root = new LinkedHashMap<>();
    root.put("pre_tokenizer", Map.of("type", "Sequence", "pretokenizers", preTokenizers));
    root.put("decoder", byteLevel(true));
    root.put("model", model);
    return root;
  }

  /** Fills {@code ids} with the vocabulary, without control tokens unless they are wanted; returns those. */
  private static List<Map<String, Object>> added(
      List<String> vocabulary, boolean[] control, boolean withControls, Map<String, Integer> ids) {
    List<Map<String, Object>> added = new ArrayList<>();
    for (int id = 0; id < vocabulary.size(); id++) {
      String text = vocabulary.get(id);
      if (!control[id]) {
        ids.put(text, id);
      } else if (withControls) {
        ids.put(text, id);
        added.add(Map.of("id", id, "content", text, "single_word", false, "lstrip", false, "rstrip", false,
            "normalized", false, "special", true));
      }
    }
    return added;
  }

  private static Map<String, Object> byteLevel(boolean useRegex) {
    return Map.of("type", "ByteLevel", "add_prefix_space", false, "trim_offsets", true, "use_regex", useRegex);
  }

  private static Map<String, Object> split(String regex) {
    return Map.of("type", "Split", "pattern", Map.of("Regex", regex), "behavior", "Isolated", "invert", false);
  }
}
