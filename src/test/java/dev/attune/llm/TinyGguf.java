package dev.attune.llm;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.SequencedMap;

/** Writes small GGUF files with random weights, right or deliberately wrong. */
public final class TinyGguf {

  /** A tensor as it will be written: dimensions fastest first. */
  public record Tensor(long[] dimensions, int type, byte[] data) {}

  private static final int ALIGNMENT = 32;

  public int version = 3;
  public byte[] magic = "GGUF".getBytes(StandardCharsets.US_ASCII);
  public final SequencedMap<String, Object> metadata = new LinkedHashMap<>();
  public final SequencedMap<String, Tensor> tensors = new LinkedHashMap<>();
  /** The weights, {@code [rows * columns]}, in the order of the file. */
  public final Map<String, float[]> weights = new LinkedHashMap<>();

  /** A complete model; the vocabulary is the 256 bytes, two merges and three control tokens. */
  public static TinyGguf model(
      long seed, int layers, int hidden, int heads, int kvHeads, int headSize, int feedForward, boolean tied) {
    TinyGguf file = new TinyGguf();
    List<String> tokens = new ArrayList<>(List.of("<|endoftext|>", "<|im_start|>", "<|im_end|>"));
    List<Integer> types = new ArrayList<>(List.of(3, 3, 3));
    for (int b = 0, next = 256; b < 256; b++) {
      boolean printable = b >= 33 && b <= 126 || b >= 161 && b <= 172 || b >= 174;
      tokens.add(Character.toString(printable ? b : next++));
      types.add(1);
    }
    tokens.add("he");
    tokens.add("ll");
    types.addAll(List.of(1, 1));
    file.metadata.put("general.architecture", "llama");
    file.metadata.put("general.name", "tiny");
    file.metadata.put("llama.block_count", layers);
    file.metadata.put("llama.context_length", 1024);
    file.metadata.put("llama.embedding_length", hidden);
    file.metadata.put("llama.feed_forward_length", feedForward);
    file.metadata.put("llama.attention.head_count", heads);
    file.metadata.put("llama.attention.head_count_kv", kvHeads);
    file.metadata.put("llama.attention.key_length", headSize);
    file.metadata.put("llama.attention.value_length", headSize);
    file.metadata.put("llama.rope.freq_base", 10_000f);
    file.metadata.put("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    file.metadata.put("tokenizer.ggml.model", "gpt2");
    file.metadata.put("tokenizer.ggml.pre", "smollm");
    file.metadata.put("tokenizer.ggml.tokens", tokens);
    file.metadata.put("tokenizer.ggml.token_type", types);
    file.metadata.put("tokenizer.ggml.merges", List.of("h e", "l l"));
    file.metadata.put("tokenizer.ggml.eos_token_id", 2);

    Random random = new Random(seed);
    file.add("token_embd.weight", tokens.size(), hidden, 1, random);
    if (!tied) {
      file.add("output.weight", tokens.size(), hidden, 1, random);
    }
    file.add("output_norm.weight", 1, hidden, 1, random);
    for (int i = 0; i < layers; i++) {
      String block = "blk." + i + ".";
      file.add(block + "attn_norm.weight", 1, hidden, 1, random);
      file.add(block + "attn_q.weight", heads * headSize, hidden, 1 / Math.sqrt(hidden), random);
      file.add(block + "attn_k.weight", kvHeads * headSize, hidden, 1 / Math.sqrt(hidden), random);
      file.add(block + "attn_v.weight", kvHeads * headSize, hidden, 1 / Math.sqrt(hidden), random);
      file.add(block + "attn_output.weight", hidden, heads * headSize, 0.5 / Math.sqrt(heads * headSize), random);
      file.add(block + "ffn_norm.weight", 1, hidden, 1, random);
      file.add(block + "ffn_gate.weight", feedForward, hidden, 1 / Math.sqrt(hidden), random);
      file.add(block + "ffn_up.weight", feedForward, hidden, 1 / Math.sqrt(hidden), random);
      file.add(block + "ffn_down.weight", hidden, feedForward, 0.5 / Math.sqrt(feedForward), random);
    }
    return file;
  }

  private void add(String name, int rows, int columns, double scale, Random random) {
    float[] values = new float[rows * columns];
    ByteBuffer data = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (random.nextGaussian() * scale);
      data.putFloat(values[i]);
    }
    weights.put(name, values);
    tensors.put(name, new Tensor(rows == 1 ? new long[] {columns} : new long[] {columns, rows}, 0, data.array()));
  }

  /** The file. */
  public byte[] bytes() {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes(magic);
    number(out, 4, version);
    number(out, 8, tensors.size());
    number(out, 8, metadata.size());
    metadata.forEach((key, value) -> {
      string(out, key);
      number(out, 4, typeOf(value));
      value(out, value);
    });
    long offset = 0;
    for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
      Tensor tensor = entry.getValue();
      string(out, entry.getKey());
      number(out, 4, tensor.dimensions.length);
      for (long dimension : tensor.dimensions) {
        number(out, 8, dimension);
      }
      number(out, 4, tensor.type);
      number(out, 8, offset);
      offset += padded(tensor.data.length);
    }
    pad(out);
    for (Tensor tensor : tensors.values()) {
      out.writeBytes(tensor.data);
      pad(out);
    }
    return out.toByteArray();
  }

  private static int typeOf(Object value) {
    return switch (value) {
      case Integer _ -> 4;
      case Float _ -> 6;
      case Boolean _ -> 7;
      case String _ -> 8;
      case List<?> _ -> 9;
      default -> throw new IllegalArgumentException(value.toString());
    };
  }

  private static void value(ByteArrayOutputStream out, Object value) {
    switch (value) {
      case Integer i -> number(out, 4, i);
      case Float f -> number(out, 4, Float.floatToIntBits(f));
      case Boolean b -> out.write(b ? 1 : 0);
      case String s -> string(out, s);
      case List<?> list -> {
        number(out, 4, typeOf(list.getFirst()));
        number(out, 8, list.size());
        list.forEach(element -> value(out, element));
      }
      default -> throw new IllegalArgumentException(value.toString());
    }
  }

  private static void string(ByteArrayOutputStream out, String text) {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    number(out, 8, utf8.length);
    out.writeBytes(utf8);
  }

  private static void number(ByteArrayOutputStream out, int bytes, long value) {
    for (int i = 0; i < bytes; i++) {
      out.write((int) (value >>> 8 * i));
    }
  }

  private static long padded(long length) {
    return (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  private static void pad(ByteArrayOutputStream out) {
    out.writeBytes(new byte[(int) (padded(out.size()) - out.size())]);
  }
}
