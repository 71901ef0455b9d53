package dev.attune.llm;

import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.checkpoint.WeightTensor;
import dev.attune.llm.tokenizer.ModelTokenizer;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/** What {@code attune models inspect} prints: read from the files, without loading the weights. */
final class ModelReport {

  private record Sum(long tensors, long numbers, long bytes) {
    Sum plus(WeightTensor tensor) {
      return new Sum(tensors + 1, numbers + (long) tensor.rows() * tensor.columns(), bytes + tensor.data().byteSize());
    }
  }

  private ModelReport() {}

  static void print(Checkpoint checkpoint, boolean everyTensor, PrintWriter out) throws IOException {
    ModelConfig config = checkpoint.config();
    line(out, "format", checkpoint.format());
    line(out, "name", config.name());
    line(out, "architecture", config.architecture());
    line(out, "layers", config.layers());
    line(out, "hidden", config.hidden());
    line(out, "heads", "%d query, %d key/value, of %d".formatted(config.heads(), config.kvHeads(), config.headSize()));
    line(out, "feed-forward", config.feedForward());
    line(out, "context", config.context());
    line(out, "RoPE", "base %s, scaling %s".formatted(config.ropeTheta(), config.ropeScaling()));
    line(out, "RMSNorm epsilon", String.format(Locale.ROOT, "%.3g", config.normEpsilon()));
    line(out, "output head", checkpoint.has("output.weight") ? "its own" : "tied to the embeddings");
    line(out, "query/key/value", (checkpoint.has("blk.0.attn_q.bias") ? "with biases" : "no biases")
        + (checkpoint.has("blk.0.attn_q_norm.weight") ? ", normalised per head" : ""));
    Map<String, Sum> types = new TreeMap<>();
    Sum all = new Sum(0, 0, 0);
    for (WeightTensor tensor : checkpoint.tensors()) {
      types.put(tensor.typeName(), types.getOrDefault(tensor.typeName(), new Sum(0, 0, 0)).plus(tensor));
      all = all.plus(tensor);
    }
    types.forEach((type, sum) -> line(out, type, describe(sum)));
    line(out, "all tensors", describe(all));
    line(out, "KV cache", "%.1f KB a token in 16 bits"
        .formatted(4.0 * config.layers() * config.kvHeads() * config.headSize() / 1024));
    tokenizer(checkpoint, out);
    if (everyTensor) {
      for (WeightTensor tensor : checkpoint.tensors()) {
        out.printf(Locale.ROOT, "%-48s %-5s [%d, %d] %d bytes%n", tensor.name(), tensor.typeName(), tensor.rows(),
            tensor.columns(), tensor.data().byteSize());
      }
    }
  }

  private static void tokenizer(Checkpoint checkpoint, PrintWriter out) throws IOException {
    try (ModelTokenizer tokenizer = ModelTokenizer.of(checkpoint)) {
      int controls = 0;
      for (int id = 0; id < tokenizer.vocabularySize(); id++) {
        controls += tokenizer.isControl(id) ? 1 : 0;
      }
      line(out, "tokenizer", "%d ids, %d of them control tokens or unused; a turn ends with %d".formatted(
          tokenizer.vocabularySize(), controls, tokenizer.endOfTurn()));
    } catch (ModelFileException e) {
      line(out, "tokenizer", "cannot be used: " + e.getMessage());
    }
  }

  private static String describe(Sum sum) {
    return String.format(Locale.ROOT, "%d tensors, %.1f million numbers, %.1f MB", sum.tensors, sum.numbers / 1e6,
        sum.bytes / 1048576.0);
  }

  private static void line(PrintWriter out, String name, Object value) {
    out.printf("%-16s %s%n", name, value);
  }
}
