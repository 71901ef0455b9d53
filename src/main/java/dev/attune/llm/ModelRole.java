package dev.attune.llm;

/** What the model is used for; each role may have an adapter of its own over the same weights. */
public enum ModelRole {
  RANKING,
  SUGGESTION
}
