package dev.attune.llm.tokenizer;

import dev.attune.llm.gguf.GgufFile;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A SentencePiece BPE vocabulary as {@code tokenizer.json}. The file lists scores, not merges: every way to put a token
 * together from two others is one, the token with the best score first (as Hugging Face's converter does it).
 */
final class SentencePieceJson {

  private record Merge(String left, String right, double score, int leftLength, int rightLength) {}

  private SentencePieceJson() {}

  static Map<String, Object> of(GgufFile file, Map<String, Integer> ids, boolean[] control) {
    List<Double> scores = file.numbers("tokenizer.ggml.scores");
    List<String> tokens = file.texts("tokenizer.ggml.tokens");
    if (scores.size() != tokens.size()) {
      throw file.error("tokenizer has %d tokens but %d scores".formatted(tokens.size(), scores.size()));
    }
    int unknown = file.integer("tokenizer.ggml.unknown_token_id", 0);
    if (unknown < 0 || unknown >= tokens.size()) {
      throw file.error("unknown token " + unknown + " is not in the vocabulary of " + tokens.size());
    }
    Map<String, Object> model = new LinkedHashMap<>();
    model.put("type", "BPE");
    model.put("unk_token", tokens.get(unknown));
    model.put("fuse_unk", true);
    model.put("byte_fallback", true);
    model.put("merges", merges(ids, control, scores).stream().map(merge -> List.of(merge.left, merge.right)).toList());
    ids.put(tokens.get(unknown), unknown);
    model.put("vocab", ids);
    List<Map<String, Object>> normalizers = new ArrayList<>();
    if (!file.has("tokenizer.ggml.add_space_prefix") || file.flag("tokenizer.ggml.add_space_prefix")) {
      normalizers.add(Map.of("type", "Prepend", "prepend", "\u2581"));
    }
    normalizers.add(Map.of("type", "Replace", "pattern", Map.of("String", " "), "content", "\u2581"));
    Map<String, Object> root = new LinkedHashMap<>();
    root.put("normalizer", Map.of("type", "Sequence", "normalizers", normalizers));
    root.put("model", model);
    return root;
  }

  private static List<Merge> merges(Map<String, Integer> ids, boolean[] control, List<Double> scores) {
    List<Merge> merges = new ArrayList<>();
    ids.forEach((token, id) -> {
      if (control[id] || token.isEmpty()) {
        return;
      }
      List<Merge> ways = new ArrayList<>();
      for (int at = token.offsetByCodePoints(0, 1); at < token.length(); at = token.offsetByCodePoints(at, 1)) {
        String left = token.substring(0, at);
        String right = token.substring(at);
        if (ids.containsKey(left) && ids.containsKey(right)) {
          ways.add(new Merge(left, right, scores.get(id), left.codePointCount(0, left.length()),
              right.codePointCount(0, right.length())));
        }
      }
      ways.sort(Comparator.comparing((Merge merge) -> ids.get(merge.left))
          .thenComparing(merge -> ids.get(merge.right)));
      merges.addAll(ways);
    });
    // A stable sort, reversed as a whole, keeps the order of equal ones.
    merges.sort(Comparator.comparingDouble(Merge::score).reversed()
        .thenComparing(Comparator.comparingInt(Merge::leftLength).reversed())
        .thenComparing(Comparator.comparingInt(Merge::rightLength).reversed()));
    return merges;
  }
}
