package dev.attune.llm.kv;

import java.util.Locale;

/** Which tokens of which KV head of a sequence are kept. */
public sealed interface Retention {

  /** All tokens of all heads. */
  record Full() implements Retention {
    @Override
    public String toString() {
      return "full";
    }
  }

  /**
   * The first tokens and a window of the newest, in all heads (attention sinks: StreamingLLM, arXiv 2309.17453).
   *
   * @param sink first tokens kept
   * @param window newest tokens kept, at least
   */
  record Streaming(int sink, int window) implements Retention {
    public Streaming {
      check(sink, window);
    }

    @Override
    public String toString() {
      return "streaming(sink=%d,window=%d)".formatted(sink, window);
    }
  }

  /**
   * All tokens in retrieval heads; in the others sinks, a window and, if wanted, one token that stands for the rest
   * (RazorAttention, arXiv 2407.15891).
   *
   * @param retrieval share of KV heads that are retrieval heads, in [0,1]; chosen by {@link HeadScores}
   * @param compensated whether the mean of what a head dropped stays as one token
   */
  record Razor(double retrieval, int sink, int window, boolean compensated) implements Retention {
    public Razor {
      check(sink, window);
      if (!(retrieval >= 0 && retrieval <= 1)) {
        throw new IllegalArgumentException("retrieval is a share from 0 to 1, not " + retrieval);
      }
    }

    @Override
    public String toString() {
      return String.format(Locale.ROOT, "razor(retrieval=%s,sink=%d,window=%d%s)", retrieval, sink, window,
          compensated ? ",compensation=1" : "");
    }
  }

  private static void check(int sink, int window) {
    if (sink < 0 || sink > 4096) {
      throw new IllegalArgumentException("sink is 0 to 4096 tokens, not " + sink);
    }
    if (window < 1 || window > 1_000_000) {
      throw new IllegalArgumentException("window is 1 to 1000000 tokens, not " + window);
    }
  }
}
