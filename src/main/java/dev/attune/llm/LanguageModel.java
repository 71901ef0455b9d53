package dev.attune.llm;

/** A loaded model: weights behind a backend, and the tokenizer that belongs to them. Thread-safe. */
public interface LanguageModel {

  ModelConfig config();

  Tokenizer tokenizer();

  InferenceBackend backend();

  /** Identifies weights and numerics; part of the key of anything computed with this model that is kept. */
  String fingerprint();
}
