package dev.attune.llm.tokenizer;

/**
 * What a tokenizer is made of.
 *
 * @param plain {@code tokenizer.json} without control tokens
 * @param withControls {@code tokenizer.json} with them
 * @param bytes text of each id of the model's vocabulary; empty for control tokens and ids without text
 */
record TokenizerParts(byte[] plain, byte[] withControls, byte[][] bytes, int endOfTurn) {}
