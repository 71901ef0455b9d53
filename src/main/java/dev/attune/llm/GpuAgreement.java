package dev.attune.llm;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.InferenceBackend.Probe;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.cpu.CpuBackend;
import dev.attune.llm.cuda.CudaBackend;
import dev.attune.llm.cuda.Numbers;
import dev.attune.llm.kv.KvCodec;
import dev.attune.llm.kv.KvPolicy;
import dev.attune.llm.lora.LoraFiles;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Scores of real lists by one backend, to be compared with those of another: a check of the whole GPU backend. Speed is
 * {@link GpuLoad}'s.
 */
public final class GpuAgreement {

  private static final int BATCH = 64;

  /**
   * Lists to rank.
   *
   * @param layer whose attention is the score
   * @param lastPosition position of last blocks
   * @param instruction tokens of the instruction block
   * @param documents tokens of each document's block
   */
  public record Lists(
      int layer, int lastPosition, int[] instruction, Map<String, int[]> documents, List<RankedList> lists) {}

  /**
   * One list.
   *
   * @param last tokens of the last block
   * @param signals rows of it whose attention counts
   * @param documents ids of the candidates
   */
  public record RankedList(int[] last, int[] signals, List<String> documents) {}

  /**
   * What computes, and what is kept of documents.
   *
   * @param backend {@code cpu} or {@code cuda}, the latter with {@code -bf16} for bf16 instead of fp16, and {@code
   *     -fp8} for weights in FP8
   * @param policy of the CPU
   * @param codec of documents, or null for the backend's own
   * @param every keeps each so many-th token of documents
   * @param threads of the CPU
   */
  public record Variant(String backend, String policy, @Nullable KvCodec codec, int every, int threads) {

    boolean onGpu() {
      return backend.startsWith("cuda");
    }
  }

  private GpuAgreement() {}

  /**
   * Masses of all candidates of all lists.
   *
   * @param adapter directory, or null for none
   * @throws dev.attune.llm.cuda.CudaException when there is no GPU that can run the model
   */
  public static List<float[]> scores(Path model, @Nullable Path adapter, Lists input, Variant variant)
      throws IOException {
    try (Checkpoint checkpoint = Checkpoint.open(model);
        OwningBackend base = variant.onGpu()
            ? CudaBackend.load(checkpoint, new CudaBackend.Settings(
                ModelLoader.EVERYTHING, variant.backend.contains("bf16") ? Numbers.BF16 : Numbers.FP16,
                variant.backend.endsWith("fp8"), 0, 0, 1), failure -> {})
            : CpuBackend.load(checkpoint, KvPolicy.parse(variant.policy), variant.threads)) {
      InferenceBackend backend = adapter == null ? base
          : base.with(LoraFiles.directory(adapter).adapter(checkpoint.config(), checkpoint.sha256()));
      KvSegment instruction = kv(backend.run(List.of(read(input.instruction, 0, List.of(), input.layer))).getFirst());
      Map<String, KvSegment> documents = documents(backend, input, instruction, variant);
      List<float[]> scores = new ArrayList<>();
      for (RankedList list : input.lists) {
        scores.add(score(backend, input, list, instruction, documents));
      }
      return scores;
    }
  }

  static float[] score(InferenceBackend backend, Lists input, RankedList list, KvSegment instruction,
      Map<String, KvSegment> documents) {
    List<KvSegment> context = new ArrayList<>(List.of(instruction));
    list.documents.forEach(id -> context.add(documents.get(id)));
    Probe probe = new Probe(list.signals, IntStream.rangeClosed(1, list.documents.size()).toArray());
    Pass pass = new Pass(list.last, input.lastPosition, context, input.layer, false, Logits.NONE, probe);
    return backend.run(List.of(pass)).getFirst().attention();
  }

  static Map<String, KvSegment> documents(
      InferenceBackend backend, Lists input, KvSegment instruction, Variant variant) {
    List<String> ids = input.lists.stream().flatMap(list -> list.documents.stream()).distinct().toList();
    Map<String, KvSegment> read = new HashMap<>();
    for (int from = 0; from < ids.size(); from += BATCH) {
      List<String> batch = ids.subList(from, Math.min(ids.size(), from + BATCH));
      List<InferenceBackend.PassResult> results = backend.run(batch.stream()
          .map(id -> read(input.documents.get(id), instruction.tokens(), List.of(instruction), input.layer)).toList());
      for (int i = 0; i < batch.size(); i++) {
        KvSegment whole = kv(results.get(i));
        KvSegment coded = variant.codec == null ? whole : backend.recode(whole, variant.codec);
        int[] kept = IntStream.range(0, whole.tokens()).filter(t -> t % variant.every == 0).toArray();
        read.put(batch.get(i), variant.every == 1 ? coded : backend.select(coded, kept));
      }
    }
    return read;
  }

  static Pass read(int[] tokens, int position, List<KvSegment> context, int layers) {
    return new Pass(tokens, position, context, layers, true, Logits.NONE, null);
  }

  static KvSegment kv(InferenceBackend.PassResult result) {
    return Objects.requireNonNull(result.kv());
  }
}
