package dev.attune.retrieval;

import ai.djl.MalformedModelException;
import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.inference.Predictor;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.repository.zoo.Criteria;
import ai.djl.repository.zoo.ModelNotFoundException;
import ai.djl.repository.zoo.ZooModel;
import ai.djl.translate.NoopTranslator;
import ai.djl.translate.TranslateException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * all-MiniLM-L6-v2 on ONNX Runtime: mean of the last hidden states over the tokens of the text, scaled to length 1;
 * 384 dimensions, at most 256 tokens. The model comes from a jar on the class path and is unpacked once.
 */
final class OnnxEmbedder implements Embedder, AutoCloseable {

  static final int DIMENSION = 384;
  static final int MAX_TOKENS = 256;

  private static final String MODEL = "all-minilm-l6-v2.onnx";
  private static final String TOKENIZER = "all-minilm-l6-v2-tokenizer.json";
  private static final int MAX_BATCH = 32;
  private static final int MAX_BATCH_TOKENS = 4096;

  /** What the tokenizer cuts anyway need not be tokenized: 256 tokens are seldom more than 2,000 characters. */
  private static final int MAX_CHARS = 8192;

  private static final long LOADER_STACK = 64L << 20;

  private final HuggingFaceTokenizer tokenizer;
  private final ZooModel<NDList, NDList> model;
  private final List<String> inputs;
  /** Native memory must not go while a call uses it: that ends the process. */
  private final ReadWriteLock inUse = new ReentrantReadWriteLock();

  private boolean closed;

  private OnnxEmbedder(HuggingFaceTokenizer tokenizer, ZooModel<NDList, NDList> model) {
    this.tokenizer = tokenizer;
    this.model = model;
    this.inputs = List.copyOf(model.describeInput().keys());
  }

  /**
   * Unpacks the model if need be and loads it.
   *
   * @param directory where the model and native libraries are unpacked to
   * @param threads threads of one call; with one the calling thread computes, at its own priority
   * @throws IllegalStateException when the model or a native library cannot be loaded
   */
  static OnnxEmbedder open(Path directory, int threads) {
    // DJL would look for newer files on the network, report usage and unpack its libraries to the home directory.
    setIfAbsent("ai.djl.offline", "true");
    setIfAbsent("OPT_OUT_TRACKING", "true");
    setIfAbsent("DJL_CACHE_DIR", directory.resolve("djl").toString());
    try {
      Files.createDirectories(directory);
      unpack(MODEL, directory);
      unpack(TOKENIZER, directory);
      HuggingFaceTokenizer tokenizer =
          HuggingFaceTokenizer.builder()
              .optTokenizerPath(directory.resolve(TOKENIZER))
              .optTruncation(true)
              .optMaxLength(MAX_TOKENS)
              .optPadding(false)
              .build();
      return new OnnxEmbedder(tokenizer, load(directory.resolve(MODEL), threads));
    } catch (IOException | LinkageError e) {
      throw unusable(directory, e);
    }
  }

  /**
   * Loads on a thread of its own: ONNX Runtime walks the graph recursively, and overflows the megabyte that a Java
   * thread has, which ends the process.
   */
  private static ZooModel<NDList, NDList> load(Path file, int threads) {
    AtomicReference<ZooModel<NDList, NDList>> loaded = new AtomicReference<>();
    AtomicReference<Throwable> failure = new AtomicReference<>();
    Thread loader =
        Thread.ofPlatform()
            .name("embedding-model-loader")
            .stackSize(LOADER_STACK)
            .start(
                () -> {
                  try {
                    loaded.set(
                        Criteria.builder()
                            .setTypes(NDList.class, NDList.class)
                            .optModelPath(file)
                            .optEngine("OnnxRuntime")
                            .optOption("intraOpNumThreads", Integer.toString(threads))
                            .optOption("interOpNumThreads", "1")
                            .optTranslator(new NoopTranslator())
                            .build()
                            .loadModel());
                  } catch (IOException
                      | ModelNotFoundException
                      | MalformedModelException
                      | RuntimeException
                      | LinkageError e) {
                    failure.set(e);
                  }
                });
    try {
      loader.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("Interrupted while the embedding model was loading", e);
    }
    if (loaded.get() == null) {
      throw unusable(file.toAbsolutePath().getParent(), failure.get());
    }
    return loaded.get();
  }

  private static IllegalStateException unusable(@Nullable Path directory, @Nullable Throwable cause) {
    return new IllegalStateException(
        "Cannot load the embedding model in " + directory
            + "; delete the directory to unpack it again, or set attune.retrieval.embed=none",
        cause);
  }

  @Override
  public int dimension() {
    return DIMENSION;
  }

  @Override
  public List<float[]> embed(List<String> texts) {
    if (texts.isEmpty()) {
      return List.of();
    }
    inUse.readLock().lock();
    try {
      if (closed) {
        throw new IllegalStateException("The embedding model is closed");
      }
      return vectors(texts);
    } finally {
      inUse.readLock().unlock();
    }
  }

  private List<float[]> vectors(List<String> texts) {
    Encoding[] encodings = tokenizer.batchEncode(texts.stream().map(OnnxEmbedder::cut).toArray(String[]::new));
    // Texts of similar length together: a batch is as long as its longest text.
    int[] order =
        IntStream.range(0, encodings.length)
            .boxed()
            .sorted(Comparator.comparingInt(i -> encodings[i].getIds().length))
            .mapToInt(Integer::intValue)
            .toArray();
    float[][] vectors = new float[encodings.length][];
    try (Predictor<NDList, NDList> predictor = model.newPredictor(new NoopTranslator())) {
      for (int from = 0; from < order.length; ) {
        int to = from + 1;
        while (to < order.length
            && to - from < MAX_BATCH
            && (to - from + 1) * encodings[order[to]].getIds().length <= MAX_BATCH_TOKENS) {
          to++;
        }
        int[] batch = Arrays.copyOfRange(order, from, to);
        embed(predictor, encodings, batch, vectors);
        from = to;
      }
    } catch (TranslateException e) {
      throw new IllegalStateException("The embedding model failed", e);
    }
    return new ArrayList<>(Arrays.asList(vectors));
  }

  /**
   * Runs one batch.
   *
   * @param batch indices of the encodings, the longest last
   * @param vectors receives the results at the same indices
   */
  private void embed(Predictor<NDList, NDList> predictor, Encoding[] encodings, int[] batch, float[][] vectors)
      throws TranslateException {
    int length = encodings[batch[batch.length - 1]].getIds().length;
    long[] ids = new long[batch.length * length];
    long[] mask = new long[batch.length * length];
    for (int row = 0; row < batch.length; row++) {
      long[] tokens = encodings[batch[row]].getIds();
      System.arraycopy(tokens, 0, ids, row * length, tokens.length);
      Arrays.fill(mask, row * length, row * length + tokens.length, 1L);
    }
    try (NDManager manager = model.getNDManager().newSubManager()) {
      Shape shape = new Shape(batch.length, length);
      NDList arguments = new NDList();
      for (String input : inputs) {
        long[] values =
            switch (input) {
              case "input_ids" -> ids;
              case "attention_mask" -> mask;
              default -> new long[ids.length]; // token_type_ids: one segment.
            };
        NDArray array = manager.create(values, shape);
        array.setName(input);
        arguments.add(array);
      }
      NDList outputs = predictor.predict(arguments);
      outputs.attach(manager);
      float[] hidden = outputs.get(0).toFloatArray();
      for (int row = 0; row < batch.length; row++) {
        vectors[batch[row]] = pool(hidden, row * length, encodings[batch[row]].getIds().length);
      }
    }
  }

  /** Mean of {@code tokens} rows from row {@code first} on, scaled to length 1. */
  private static float[] pool(float[] hidden, int first, int tokens) {
    double[] sum = new double[DIMENSION];
    for (int token = 0; token < tokens; token++) {
      int offset = (first + token) * DIMENSION;
      for (int i = 0; i < DIMENSION; i++) {
        sum[i] += hidden[offset + i];
      }
    }
    double squares = 0;
    for (double value : sum) {
      squares += value * value;
    }
    double norm = Math.sqrt(squares);
    float[] vector = new float[DIMENSION];
    for (int i = 0; i < DIMENSION; i++) {
      vector[i] = (float) (sum[i] / norm);
    }
    return vector;
  }

  /** Waits for the calls under way; later ones fail. */
  @Override
  public void close() {
    inUse.writeLock().lock();
    try {
      if (!closed) {
        closed = true;
        model.close();
        tokenizer.close();
      }
    } finally {
      inUse.writeLock().unlock();
    }
  }

  private static String cut(String text) {
    return text.length() <= MAX_CHARS ? text : text.substring(0, MAX_CHARS);
  }

  private static void setIfAbsent(String property, String value) {
    if (System.getProperty(property) == null && System.getenv(property) == null) {
      System.setProperty(property, value);
    }
  }

  private static void unpack(String resource, Path directory) throws IOException {
    Path target = directory.resolve(resource);
    if (Files.exists(target)) {
      return;
    }
    try (InputStream in = OnnxEmbedder.class.getResourceAsStream("/" + resource)) {
      if (in == null) {
        throw new IOException(resource + " is not on the class path; build with the embedding model's jar");
      }
      // Moved into place when complete: a copy cut short by a crash is never taken for the model.
      Path partial = Files.createTempFile(directory, resource, ".part");
      Files.copy(in, partial, StandardCopyOption.REPLACE_EXISTING);
      Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE);
    }
  }
}
