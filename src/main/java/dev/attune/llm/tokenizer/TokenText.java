package dev.attune.llm.tokenizer;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** From the way a vocabulary writes a token to the bytes of text it stands for. */
enum TokenText {
  /** Each byte is a printable character: itself where printable, else from U+0100 on (GPT-2). */
  BYTE_LEVEL {
    @Override
    byte[] bytes(String token) {
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      token.codePoints().forEach(c -> {
        int b = c < BYTE_OF.length ? BYTE_OF[c] : -1;
        if (b >= 0) {
          out.write(b);
        } else {
          // Added tokens are plain text.
          out.writeBytes(Character.toString(c).getBytes(StandardCharsets.UTF_8));
        }
      });
      return out.toByteArray();
    }
  },
  /** Plain text with U+2581 for a space, and {@code <0x0A>} for a byte (SentencePiece). */
  SENTENCE_PIECE {
    @Override
    byte[] bytes(String token) {
      if (token.matches("<0x[0-9A-Fa-f]{2}>")) {
        return new byte[] {(byte) Integer.parseInt(token.substring(3, 5), 16)};
      }
      return token.replace('\u2581', ' ').getBytes(StandardCharsets.UTF_8);
    }
  };

  private static final int[] BYTE_OF = byteAlphabet();

  abstract byte[] bytes(String token);

  private static int[] byteAlphabet() {
    int[] byteOf = new int[0x144];
    Arrays.fill(byteOf, -1);
    int next = 0x100;
    for (int b = 0; b < 256; b++) {
      boolean printable = b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae;
      byteOf[printable ? b : next++] = b;
    }
    return byteOf;
  }
}
