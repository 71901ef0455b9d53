package dev.attune.llm;

import dev.attune.llm.GpuAgreement.Lists;
import dev.attune.llm.GpuAgreement.RankedList;
import dev.attune.llm.GpuAgreement.Variant;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.cuda.CudaBackend;
import dev.attune.llm.cuda.Numbers;
import dev.attune.llm.kv.KvCodec;
import dev.attune.llm.lora.LoraFiles;
import dev.attune.llm.scheduling.Scheduler;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.io.IOException;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Speed of the whole GPU backend under load, over real lists: documents on the device, in pinned memory of the host and
 * in files; requests side by side; rankings while suggestions are decoded.
 */
public final class GpuLoad {

  private static final int PROMPT = 600;
  private static final int DECODERS = 4;
  private static final long HOST = 8L << 30;

  private final PrintWriter out;
  private final Checkpoint checkpoint;
  private final @Nullable Path adapter;
  private final Lists input;

  private GpuLoad(PrintWriter out, Checkpoint checkpoint, @Nullable Path adapter, Lists input) {
    this.out = out;
    this.checkpoint = checkpoint;
    this.adapter = adapter;
    this.input = input;
  }

  /**
   * Measures and prints.
   *
   * @param adapter directory of the ranking's adapter, or null for none
   * @param fewLists lists whose documents are moved about; those of three must not fit into a tenth of the device's
   *     memory
   * @throws dev.attune.llm.cuda.CudaException when there is no GPU that can run the model
   */
  public static void run(PrintWriter out, Path model, @Nullable Path adapter, Lists input, int fewLists)
      throws IOException {
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      GpuLoad load = new GpuLoad(out, checkpoint, adapter, input);
      for (int streams : new int[] {1, CudaBackend.STREAMS}) {
        load.concurrency(streams);
      }
      for (KvCodec codec : new KvCodec[] {KvCodec.FP16, KvCodec.INT8}) {
        load.tiers(new Lists(input.layer(), input.lastPosition(), input.instruction(), input.documents(),
            input.lists().subList(0, Math.min(fewLists, input.lists().size()))), codec);
      }
    }
  }

  private CudaBackend open(long device, long host, int streams) {
    CudaBackend.Settings settings =
        new CudaBackend.Settings(ModelLoader.EVERYTHING, Numbers.FP16, false, device, host, streams);
    return CudaBackend.load(checkpoint, settings, failure -> {});
  }

  private InferenceBackend ranking(CudaBackend base) throws IOException {
    return adapter == null ? base
        : base.with(LoraFiles.directory(adapter).adapter(checkpoint.config(), checkpoint.sha256()));
  }

  private KvSegment instruction(InferenceBackend backend) {
    return GpuAgreement.kv(
        backend.run(List.of(GpuAgreement.read(input.instruction(), 0, List.of(), input.layer()))).getFirst());
  }

  /**
   * Requests by callers that wait for their answer, then rankings with decoding beside them; with the scheduler before
   * the ranking's backend, as in the service, which puts passes that wait together.
   */
  private void concurrency(int streams) throws IOException {
    try (CudaBackend base = open(0, 0, streams);
        Scheduler scheduler = new Scheduler(Integer.MAX_VALUE, new SimpleMeterRegistry())) {
      InferenceBackend adapted = ranking(base);
      InferenceBackend ranking = scheduler.schedule(adapted, adapted.callsAtOnce());
      KvSegment instruction = instruction(ranking);
      Map<String, KvSegment> documents =
          GpuAgreement.documents(ranking, input, instruction, new Variant("cuda", "full+fp16", null, 1, 1));
      IntConsumer rank = i -> GpuAgreement.score(
          ranking, input, input.lists().get(i % input.lists().size()), instruction, documents);
      String what = "%d stream%s a backend, ".formatted(streams, streams == 1 ? "" : "s");
      measure(32, 500, rank);
      for (int callers : new int[] {1, 4, 8, 32}) {
        print(what + callers + " in flight", measure(callers, callers == 1 ? 500 : 4000, rank));
      }
      decoding(what + "decoding in the ranking's line", ranking, rank);
      decoding(what + "decoding beside it", base.beside(), rank);
    }
  }

  private void decoding(String what, InferenceBackend decoder, IntConsumer rank) {
    int[] tokens = new Random(4).ints(PROMPT, 3, checkpoint.config().vocabulary() / 2).toArray();
    int layers = checkpoint.config().layers();
    KvSegment prompt = GpuAgreement.kv(
        decoder.run(List.of(new Pass(tokens, 0, List.of(), layers, true, Logits.NONE, null))).getFirst());
    Pass step = new Pass(new int[] {100}, PROMPT, List.of(prompt), layers, true, Logits.LAST, null);
    for (int i = 0; i < 20; i++) {
      decoder.run(List.of(step));
    }
    long start = System.nanoTime();
    for (int i = 0; i < 200; i++) {
      decoder.run(List.of(step));
    }
    out.printf(Locale.ROOT, "%s: a step alone %.3f ms%n", what, (System.nanoTime() - start) / 200e6);
    AtomicBoolean end = new AtomicBoolean();
    LongAdder steps = new LongAdder();
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 0; i < DECODERS; i++) {
        threads.submit(() -> {
          while (!end.get()) {
            decoder.run(List.of(step));
            steps.increment();
          }
        });
      }
      start = System.nanoTime();
      long[] nanos = measure(1, 600, rank);
      double seconds = (System.nanoTime() - start) / 1e9;
      double perSecond = steps.sum() / seconds;
      print(what + ", rankings one at a time", nanos);
      out.printf(Locale.ROOT, "%s: %d decoders took %.0f steps/s meanwhile%n", what, DECODERS, perSecond);
      end.set(true);
    }
  }

  /** Times of requests in nanoseconds, the whole time in the last place. */
  private static long[] measure(int callers, int requests, IntConsumer request) {
    long[] nanos = new long[requests + 1];
    AtomicInteger next = new AtomicInteger();
    long start = System.nanoTime();
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<?>> all = IntStream.range(0, callers).<Future<?>>mapToObj(_ -> threads.submit(() -> {
        for (int r = next.getAndIncrement(); r < requests; r = next.getAndIncrement()) {
          long from = System.nanoTime();
          request.accept(r);
          nanos[r] = System.nanoTime() - from;
        }
      })).toList();
      for (Future<?> caller : all) {
        caller.get();
      }
    } catch (InterruptedException | ExecutionException e) {
      throw new IllegalStateException(e);
    }
    nanos[requests] = System.nanoTime() - start;
    return nanos;
  }

  private void print(String what, long[] nanos) {
    int requests = nanos.length - 1;
    long[] sorted = Arrays.copyOf(nanos, requests);
    Arrays.sort(sorted);
    out.printf(Locale.ROOT, "%s: %.0f requests/s, median %.3f ms, p99 %.3f ms, n=%d%n", what,
        requests / (nanos[requests] / 1e9), sorted[requests / 2] / 1e6, sorted[requests * 99 / 100] / 1e6, requests);
  }

  /** Rankings whose documents come from each tier; which one is decided by what fits where. */
  private void tiers(Lists few, KvCodec codec) throws IOException {
    Path file = Files.createTempFile("documents", ".kv");
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      Map<String, MemorySegment> images = new HashMap<>();
      long longest;
      try (CudaBackend base = open(0, 0, CudaBackend.STREAMS)) {
        InferenceBackend ranking = ranking(base);
        KvSegment instruction = instruction(ranking);
        Map<String, KvSegment> read =
            GpuAgreement.documents(ranking, few, instruction, new Variant("cuda", "full+fp16", codec, 1, 1));
        longest = few.lists().stream()
            .mapToLong(list -> list.documents().stream().mapToLong(id -> read.get(id).bytes()).sum()).max().orElse(0);
        for (Map.Entry<String, KvSegment> document : read.entrySet()) {
          MemorySegment image = ranking.image(document.getValue());
          long at = (channel.size() + 4095) / 4096 * 4096;
          images.put(document.getKey(),
              channel.map(FileChannel.MapMode.READ_WRITE, at, image.byteSize(), Arena.ofAuto()).copyFrom(image));
        }
        print(codec + ", on the device", each(ranking, instruction, few, read, 5));
      }
      out.printf(Locale.ROOT, "%s, %d documents, the largest list %d MB%n", codec, images.size(), longest >> 20);
      // Two lists fit: by the time a list comes again, its documents have left the device.
      for (long host : new long[] {HOST, 0}) {
        try (CudaBackend base = open(2 * longest + (64 << 20), host, CudaBackend.STREAMS)) {
          InferenceBackend ranking = ranking(base);
          KvSegment instruction = instruction(ranking);
          Map<String, KvSegment> documents = new HashMap<>();
          images.forEach((id, image) -> documents.put(id, ranking.restore(image)));
          String from = codec + (host > 0 ? ", from a file by pinned memory" : ", from a file without pinned memory");
          print(from, each(ranking, instruction, few, documents, 1));
          if (host > 0) {
            print(codec + ", from pinned memory", each(ranking, instruction, few, documents, 5));
            int lists = few.lists().size();
            print(codec + ", from pinned memory, 4 in flight", measure(4, 5 * lists, i -> GpuAgreement.score(
                ranking, few, few.lists().get(i % lists), instruction, documents)));
          }
          out.println(base.memory());
        }
      }
    } finally {
      Files.delete(file);
    }
  }

  private static long[] each(InferenceBackend ranking, KvSegment instruction, Lists few,
      Map<String, KvSegment> documents, int rounds) {
    return measure(1, rounds * few.lists().size(), i -> {
      RankedList list = few.lists().get(i % few.lists().size());
      GpuAgreement.score(ranking, few, list, instruction, documents);
    });
  }
}
