package dev.attune.ranking;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.llm.kv.KvCodec;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** A language model made ready for ranking: its prompt, the instruction block read, and what reading costs. */
final class RankingModel {

  private final LanguageModel model;
  private final RankingProperties properties;
  private final BlockPrompt prompt;
  private final KvSegment instruction;
  private final String space;
  private final int lastPosition;
  private final ReadingCost cost;
  private final BlockPrompt.LastBlock contentFree;

  /**
   * Reads the instruction block and measures the speed of reading.
   *
   * @throws IllegalStateException when the settings do not fit the model; the message names the setting
   */
  RankingModel(LanguageModel model, RankingProperties properties) {
    this.model = model;
    this.properties = properties;
    this.prompt = new BlockPrompt(model.tokenizer(), properties);
    this.contentFree = prompt.last("N/A", List.of());
    if (properties.layer() >= model.config().layers()) {
      throw new IllegalStateException(
          "attune.ranking.layer=%d, but %s has layers 0 to %d; about three fifths of them is a good choice"
              .formatted(properties.layer(), model.config().name(), model.config().layers() - 1));
    }
    if (properties.scoreTransform().bySlot() && !model.backend().probesSlots()) {
      throw new IllegalStateException(
          "attune.ranking.score-transform=%s needs the attention of each head, which the backend %s does not give"
              .formatted(properties.scoreTransform(), model.backend().name()));
    }
    this.lastPosition = Math.min(properties.lastPosition(), model.config().context() - prompt.longestLast());
    int[] tokens = prompt.instruction("");
    if (tokens.length + properties.queryTokens() + properties.documentTokens() > lastPosition) {
      throw new IllegalStateException(
          "attune.ranking.document-tokens=%d does not fit before the last block at position %d of %s; lower it"
              .formatted(properties.documentTokens(), lastPosition, model.config().name()));
    }
    this.instruction = read(tokens);
    this.space =
        model.fingerprint() + '/' + model.backend().name() + '/' + properties.layer() + '/' + prompt.fingerprint()
            + kept();
    this.cost = new ReadingCost(measure());
  }

  /** What is kept of a document, for the fingerprint; empty when it is everything as the model keeps it. */
  private String kept() {
    String codec = properties.documentCodec() == null ? "" : "/" + properties.documentCodec();
    return codec + (properties.keptTokens() == 1 ? "" : "/kept-" + properties.keptTokens() + "-" + KeptTokens.RULE);
  }

  /** The second of two documents counts: the first one pays for what is compiled or loaded on first use. */
  private double measure() {
    int[] document = prompt.document("", "measure ".repeat(properties.documentTokens()));
    long nanos = 0;
    for (int i = 0; i < 2; i++) {
      long start = System.nanoTime();
      readDocuments(instruction, List.of(document));
      nanos = System.nanoTime() - start;
    }
    return (double) nanos / document.length;
  }

  String name() {
    return model.config().name();
  }

  String fingerprint() {
    return model.fingerprint();
  }

  BlockPrompt prompt() {
    return prompt;
  }

  /** Whose attention is the score. */
  int layer() {
    return properties.layer();
  }

  ReadingCost cost() {
    return cost;
  }

  /** Part of the key of what is stored: all that a document's keys and values depend on beside the document. */
  String space() {
    return space;
  }

  /** Keys and values of the instruction block. */
  KvSegment instruction(String query) {
    return prompt.documentsOnce() ? instruction : read(prompt.instruction(query));
  }

  private KvSegment read(int[] tokens) {
    Pass pass = new Pass(tokens, 0, List.of(), properties.layer(), true, Logits.NONE, null);
    return Objects.requireNonNull(model.backend().run(List.of(pass)).getFirst().kv());
  }

  /** Keys and values of documents, in the order given; the same for a document whatever the others are. */
  List<KvSegment> readDocuments(KvSegment instructionBlock, List<int[]> documents) {
    List<KvSegment> whole = readWhole(instructionBlock, documents);
    List<KvSegment> read = new ArrayList<>(documents.size());
    for (int i = 0; i < whole.size(); i++) {
      read.add(kept(whole.get(i), documents.get(i), properties.documentCodec(), properties.keptTokens()));
    }
    return read;
  }

  /** The same before anything is compressed or left out. */
  List<KvSegment> readWhole(KvSegment instructionBlock, List<int[]> documents) {
    List<Pass> passes = new ArrayList<>(documents.size());
    for (int[] tokens : documents) {
      List<KvSegment> context = List.of(instructionBlock);
      passes.add(
          new Pass(tokens, instructionBlock.tokens(), context, properties.layer(), true, Logits.NONE, null));
    }
    return model.backend().run(passes).stream().map(result -> Objects.requireNonNull(result.kv())).toList();
  }

  /** Quantised before tokens are chosen, so that a token's numbers do not depend on which others are kept. */
  KvSegment kept(KvSegment whole, int[] tokens, @Nullable KvCodec codec, double share) {
    KvSegment coded = codec == null ? whole : model.backend().recode(whole, codec);
    return share == 1 ? coded : model.backend().select(coded, prompt.keptTokens(tokens, share));
  }

  /** Attention of the signal tokens per document, summing to 1. */
  float[] score(KvSegment instructionBlock, List<KvSegment> documents, BlockPrompt.LastBlock last) {
    return score(instructionBlock, documents, last, properties.scoreTransform());
  }

  /** The same with a transform of its own. */
  float[] score(
      KvSegment instructionBlock, List<KvSegment> documents, BlockPrompt.LastBlock last, ScoreTransform transform) {
    return new SignalAttention(model.backend(), lastPosition, properties.layer())
        .masses(transform, instructionBlock, documents, last, contentFree);
  }
}
