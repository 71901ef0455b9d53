package dev.attune.retrieval;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.LongBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Documents a second of the embedding model: ours against ONNX Runtime's own Java interface on the same token ids, by
 * documents per call and threads. Processor time tells them apart on a machine that others use too.
 *
 * <p>Run: {@code java … dev.attune.retrieval.EmbeddingBenchmark DIRECTORY [TOKENS] [ROUNDS]}
 */
final class EmbeddingBenchmark {

  private static final OperatingSystemMXBean SYSTEM =
      (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

  private EmbeddingBenchmark() {}

  public static void main(String[] args) throws Exception {
    Path directory = Path.of(args[0]);
    int tokens = args.length > 1 ? Integer.parseInt(args[1]) : 128;
    int rounds = args.length > 2 ? Integer.parseInt(args[2]) : 5;
    // One token a word: the texts have the length asked for, with [CLS] and [SEP].
    String text = "time ".repeat(tokens - 2);
    System.out.println("| threads | documents a call | what | documents/s | processor ms a document |");
    System.out.println("| --- | --- | --- | --- | --- |");
    for (int threads : new int[] {1, 2}) {
      try (OnnxEmbedder ours = OnnxEmbedder.open(directory, threads);
          OrtSession plain = session(directory, threads, false);
          OrtSession calm = session(directory, threads, true)) {
        for (int batch : new int[] {1, 4, 16, 32}) {
          List<String> texts = new ArrayList<>(java.util.Collections.nCopies(batch, text));
          long[] ids;
          try (HuggingFaceTokenizer tokenizer =
              HuggingFaceTokenizer.newInstance(directory.resolve("all-minilm-l6-v2-tokenizer.json"))) {
            ids = tokenizer.encode(text).getIds();
          }
          int calls = Math.max(1, 32 / batch);
          measure(threads, batch, calls, rounds, "ours", () -> ours.embed(texts));
          measure(threads, batch, calls, rounds, "runtime", () -> run(plain, ids, batch));
          measure(threads, batch, calls, rounds, "runtime, no spinning", () -> run(calm, ids, batch));
        }
      }
    }
  }

  /** What is measured. */
  private interface Call {
    Object run() throws OrtException;
  }

  private static void measure(int threads, int batch, int calls, int rounds, String what, Call call)
      throws OrtException {
    call.run();
    double[] wall = new double[rounds];
    double[] processor = new double[rounds];
    for (int round = 0; round < rounds; round++) {
      long start = System.nanoTime();
      long used = SYSTEM.getProcessCpuTime();
      for (int i = 0; i < calls; i++) {
        call.run();
      }
      wall[round] = (System.nanoTime() - start) / 1e9 / (calls * batch);
      processor[round] = (SYSTEM.getProcessCpuTime() - used) / 1e6 / (calls * batch);
    }
    Arrays.sort(wall);
    Arrays.sort(processor);
    System.out.printf("| %d | %d | %s | %.1f | %.1f |%n",
        threads, batch, what, 1 / wall[rounds / 2], processor[rounds / 2]);
  }

  private static OrtSession session(Path directory, int threads, boolean calm) throws OrtException {
    OrtSession.SessionOptions options = new OrtSession.SessionOptions();
    options.setIntraOpNumThreads(threads);
    options.setInterOpNumThreads(1);
    options.setOptimizationLevel(OrtSession.SessionOptions.OptLevel.ALL_OPT);
    if (calm) {
      options.addConfigEntry("session.intra_op.allow_spinning", "0");
    }
    OrtSession[] session = new OrtSession[1];
    Throwable[] failure = new Throwable[1];
    Thread loader = Thread.ofPlatform().stackSize(64L << 20).start(() -> {
      try {
        session[0] = OrtEnvironment.getEnvironment()
            .createSession(directory.resolve("all-minilm-l6-v2.onnx").toString(), options);
      } catch (OrtException e) {
        failure[0] = e;
      }
    });
    try {
      loader.join();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
    if (failure[0] != null) {
      throw new IllegalStateException(failure[0]);
    }
    return session[0];
  }

  private static float run(OrtSession session, long[] ids, int batch) throws OrtException {
    long[] all = new long[batch * ids.length];
    long[] mask = new long[all.length];
    Arrays.fill(mask, 1);
    for (int i = 0; i < batch; i++) {
      System.arraycopy(ids, 0, all, i * ids.length, ids.length);
    }
    long[] shape = {batch, ids.length};
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    Map<String, OnnxTensor> inputs = new HashMap<>();
    try {
      for (String name : session.getInputNames()) {
        long[] values = name.equals("input_ids") ? all : name.equals("attention_mask") ? mask : new long[all.length];
        inputs.put(name, OnnxTensor.createTensor(environment, LongBuffer.wrap(values), shape));
      }
      try (OrtSession.Result result = session.run(inputs)) {
        return ((OnnxTensor) result.get(0)).getFloatBuffer().get(0);
      }
    } finally {
      inputs.values().forEach(OnnxTensor::close);
    }
  }
}
