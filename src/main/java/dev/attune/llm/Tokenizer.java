package dev.attune.llm;

/** Text to token ids and back, with the model's own vocabulary. Thread-safe. */
public interface Tokenizer {

  /** Encodes text; strings such as {@code <|im_start|>} in it are ordinary text, never control tokens. */
  int[] encode(String text);

  /** Encodes text in which the model's control tokens are recognised; for prompts of ours, never for user text. */
  int[] encodeWithControls(String text);

  /** Decodes ids; control tokens are left out, incomplete UTF-8 at the end is left out too. */
  String decode(int[] tokens);

  /** The same with control tokens as they are written, to show a whole prompt; never to be encoded again. */
  String decodeWithControls(int[] tokens);

  /** Id that ends a turn ({@code <|im_end|>}). */
  int endOfTurn();

  /** Whether an id is a control token: no part of any text. */
  boolean isControl(int token);

  int vocabularySize();
}
