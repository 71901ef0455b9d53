package dev.attune.llm.checkpoint;

import dev.attune.llm.ModelConfig;
import dev.attune.llm.ModelFileException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.stream.Stream;

/**
 * A model on disk: one GGUF file, or a directory in Hugging Face's layout ({@code config.json}, {@code tokenizer.json}
 * and safetensors, in one file or sharded with an index).
 *
 * <p>Tensors are asked for by GGUF's names ({@code token_embd.weight}, {@code blk.0.attn_q.weight}, …) in both formats.
 */
public sealed interface Checkpoint extends AutoCloseable permits GgufCheckpoint, HuggingFaceCheckpoint {

  /** For messages and reports, for example {@code GGUF}. */
  String format();

  ModelConfig config();

  /** Whether there is a tensor of this name. */
  boolean has(String name);

  /**
   * A tensor that must be there with this shape; a vector has one row.
   *
   * @throws ModelFileException when it is missing or has another shape
   */
  WeightTensor tensor(String name, int rows, int columns);

  /** All tensors of the files. */
  Collection<? extends WeightTensor> tensors();

  /**
   * Whether rows of query and key weights are permuted so that dimensions {@code 2i} and {@code 2i + 1} of a head
   * rotate together, not {@code i} and {@code i + headSize / 2}.
   */
  boolean interleavedRotation();

  /** The files that decide about the numbers, in a fixed order. */
  List<Path> files();

  /**
   * Identifies the weights: SHA-256 in hex of the only file, or, of several files, of what {@code sha256sum} prints for
   * them (bare names, in the order of {@link #files}).
   */
  default String sha256() throws IOException {
    return Checksums.ofAll(files());
  }

  /**
   * The same files opened once more, for who reads weights after this has been closed. Files that are moved to their
   * places afterwards are not seen.
   */
  Checkpoint again() throws IOException;

  @Override
  void close();

  /**
   * Opens a model.
   *
   * @param place GGUF or safetensors file (or the index of several), or a directory that holds exactly one model
   * @throws NoSuchFileException when there is none
   * @throws ModelFileException when it cannot be used; the message says why
   */
  static Checkpoint open(Path place) throws IOException {
    if (!Files.exists(place)) {
      throw new NoSuchFileException(place.toString());
    }
    if (!Files.isDirectory(place)) {
      String name = place.toString();
      if (!name.endsWith(".safetensors") && !name.endsWith(".safetensors.index.json")) {
        return GgufCheckpoint.open(place);
      }
      return HuggingFaceCheckpoint.open(
          place.toAbsolutePath().getParent(), name.endsWith(".json") ? List.of() : List.of(place));
    }
    try (Stream<Path> files = Files.list(place)) {
      List<Path> all = files.sorted().toList();
      List<Path> gguf = all.stream().filter(file -> file.toString().endsWith(".gguf")).toList();
      boolean huggingFace = all.stream().anyMatch(file -> file.toString().endsWith(".safetensors"));
      if (gguf.size() > 1 || gguf.size() == 1 && huggingFace) {
        throw new ModelFileException("%s holds %d GGUF files%s; name one of them"
            .formatted(place, gguf.size(), huggingFace ? " and safetensors" : ""));
      }
      if (huggingFace) {
        return HuggingFaceCheckpoint.open(place, List.of());
      }
      if (gguf.isEmpty()) {
        throw new NoSuchFileException(place + "/*.gguf or *.safetensors");
      }
      return GgufCheckpoint.open(gguf.getFirst());
    }
  }
}
