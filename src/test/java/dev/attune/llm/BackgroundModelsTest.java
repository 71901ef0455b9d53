package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.LlmProperties.Adapters;
import dev.attune.llm.LlmProperties.GpuWeights;
import dev.attune.llm.Models.Adapter;
import dev.attune.llm.Models.State;
import dev.attune.llm.Models.Status;
import dev.attune.llm.cuda.CudaException;
import dev.attune.llm.cuda.Numbers;
import dev.attune.llm.kv.KvPolicy;
import dev.attune.llm.lora.LoraAdapter;
import dev.attune.llm.scheduling.Scheduler;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.springframework.boot.context.properties.bind.Binder;
import org.springframework.boot.context.properties.source.MapConfigurationPropertySource;
import org.springframework.util.unit.DataSize;

@Timeout(120)
class BackgroundModelsTest {

  private static final String CACHE = "~/.cache/attune/models";
  private static final String KERNELS = "~/.cache/attune/kernels";
  private static final Adapters NO_ADAPTERS = new Adapters("none", "none");

  private static final Scheduler SCHEDULER = new Scheduler(8, new SimpleMeterRegistry());

  @TempDir private Path directory;

  private static LlmProperties properties(String model) {
    return new LlmProperties(model, CACHE, null, LlmProperties.Backend.AUTO, DataSize.ofBytes(0), DataSize.ofBytes(0),
        KERNELS, Numbers.FP16, GpuWeights.FULL, 1, "full+fp16", 8, NO_ADAPTERS);
  }

  /** The status after loading. */
  private static Status load(String model) {
    try (Loading models = new Loading(models(properties(model)))) {
      return models.settled();
    }
  }

  private static BackgroundModels models(LlmProperties properties) {
    return new BackgroundModels(properties, SCHEDULER);
  }

  private record Loading(BackgroundModels models) implements AutoCloseable {

    Status settled() {
      assertThat(models.status().state()).isEqualTo(State.LOADING);
      assertThat(models.status().message()).isNotBlank();
      assertThat(models.current(ModelRole.RANKING)).isEmpty();
      models.start();
      while (models.status().state() == State.LOADING) {
        Thread.onSpinWait();
      }
      return models.status();
    }

    @Override
    public void close() {
      models.destroy();
    }
  }

  private Path write(Consumer<TinyGguf> change) throws IOException {
    TinyGguf file = TinyGguf.model(1, 2, 40, 4, 2, 8, 24, true);
    change.accept(file);
    return Files.write(directory.resolve("tiny.gguf"), file.bytes());
  }

  @Test
  void loadsAFileOrItsDirectory() throws IOException {
    Path path = write(file -> {});
    for (Path place : new Path[] {path, directory}) {
      try (Loading models = new Loading(models(properties(place.toString())))) {
        assertThat(models.settled()).isEqualTo(new Status(State.READY, place.toString(), "tiny", "cpu", null,
            List.of(new Adapter(ModelRole.RANKING, "none", false, "Switched off"),
                new Adapter(ModelRole.SUGGESTION, "none", false, "Switched off"))));
        LanguageModel model = models.models().current(ModelRole.RANKING).orElseThrow();
        assertThat(model.config().vocabulary()).isEqualTo(261);
        assertThat(model.fingerprint()).matches("[0-9a-f]{32}-cpu-f32-full\\+fp16");
        models.close();
        assertThat(models.models().current(ModelRole.RANKING)).isEmpty();
      }
    }
  }

  @Test
  void fingerprintFollowsWeightsAndPolicy() throws IOException {
    Path one = write(file -> {});
    String first = fingerprint(one, "full+fp16");
    assertThat(fingerprint(one, "full+fp16")).isEqualTo(first);
    assertThat(fingerprint(one, "full+f32")).isNotEqualTo(first);
    Path other = write(file -> file.tensors.get("output_norm.weight").data()[0] ^= 1);
    assertThat(fingerprint(other, "full+fp16")).isNotEqualTo(first);
  }

  private static String fingerprint(Path path, String policy) throws IOException {
    try (ModelLoader.Loaded model = ModelLoader.load(path, KvPolicy.parse(policy), 1)) {
      return model.fingerprint();
    }
  }

  @Test
  void missingFileSaysWhatToDo() {
    Status status = load(directory.resolve("absent.gguf").toString());
    assertThat(status.state()).isEqualTo(State.MISSING);
    assertThat(status.message()).contains("absent.gguf", "models/fetch.py", "attune.llm.model");
    assertThat(load(directory.toString()).state()).isEqualTo(State.MISSING);
    assertThat(load("~/no/such/model.gguf").message()).contains(System.getProperty("user.home"));
  }

  @Test
  void damagedFileSaysWhy() throws IOException {
    Path path = write(file -> {});
    byte[] whole = Files.readAllBytes(path);
    Files.write(path, Arrays.copyOf(whole, whole.length / 2));
    Status status = load(path.toString());
    assertThat(status.state()).isEqualTo(State.BROKEN);
    assertThat(status.message()).contains("tiny.gguf", "not completely downloaded", "attune.llm.model");
  }

  @Test
  void ambiguousDirectoryIsNotGuessed() throws IOException {
    write(file -> {});
    Files.copy(directory.resolve("tiny.gguf"), directory.resolve("other.gguf"));
    assertThat(load(directory.toString()).message()).contains("2 GGUF files");
  }

  @Test
  void modelsThatCannotRunSayWhy() throws IOException {
    assertBroken(file -> file.metadata.put("general.architecture", "mamba"), "architecture 'mamba' is not supported");
    assertBroken(file -> file.metadata.put("tokenizer.ggml.model", "bert"), "tokenizer model 'bert'");
    assertBroken(file -> file.metadata.put("tokenizer.ggml.pre", "klingon"), "pre-tokenizer 'klingon'");
    assertBroken(file -> file.metadata.put("llama.attention.head_count_kv", 3), "4 query heads cannot share 3");
    assertBroken(file -> file.metadata.put("llama.attention.key_length", 12), "head size 12");
    assertBroken(file -> file.metadata.put("llama.rope.scaling.type", "longrope"), "RoPE scaling 'longrope'");
    assertBroken(file -> file.metadata.put("llama.block_count", 0), "block_count' is 0");
    assertBroken(file -> file.metadata.put("llama.block_count", 3), "'blk.2.attn_norm.weight' is missing");
    assertBroken(file -> file.metadata.put("llama.feed_forward_length", 25), "should have shape [25, 40]");
    assertBroken(file -> file.metadata.remove("llama.context_length"), "'llama.context_length' is missing");
    assertBroken(file -> file.metadata.put("tokenizer.ggml.eos_token_id", 999), "end-of-turn token 999");
    assertBroken(file -> file.tensors.remove("token_embd.weight"), "'token_embd.weight' is missing");
  }

  private void assertBroken(Consumer<TinyGguf> change, String message) throws IOException {
    Status status = load(write(change).toString());
    assertThat(status.state()).isEqualTo(State.BROKEN);
    assertThat(status.message()).contains(message);
  }

  @Test
  void cudaFallsBackToTheCpu() throws IOException {
    LlmProperties cuda =
        new LlmProperties(
            write(file -> {}).toString(), CACHE, null, LlmProperties.Backend.CUDA, DataSize.ofBytes(0),
            DataSize.ofBytes(0), KERNELS, Numbers.FP16, GpuWeights.FULL, 1, "full+f32", 8, NO_ADAPTERS);
    try (Loading models = new Loading(models(cuda))) {
      assertThat(models.settled().backend()).isEqualTo("cpu");
    }
  }

  /** A GPU that fails: every call throws from a moment on, and the listener is told. */
  private record FailingGpu(OwningBackend cpu, AtomicBoolean failed) implements OwningBackend {
    @Override
    public String name() {
      return "cuda";
    }

    @Override
    public List<PassResult> run(List<Pass> passes) {
      if (failed.get()) {
        throw new CudaException("Running a kernel failed: CUDA error 700 (illegal address)");
      }
      return cpu.run(passes);
    }

    @Override
    public KvSegment concat(List<KvSegment> segments) {
      return cpu.concat(segments);
    }

    @Override
    public MemorySegment image(KvSegment segment) {
      return cpu.image(segment);
    }

    @Override
    public KvSegment restore(MemorySegment image) {
      return cpu.restore(image);
    }

    @Override
    public InferenceBackend with(LoraAdapter adapter) {
      return cpu.with(adapter);
    }

    @Override
    public Work work() {
      return cpu.work();
    }

    @Override
    public long weightBytes() {
      return cpu.weightBytes();
    }

    @Override
    public void close() {
      cpu.close();
    }
  }

  @Test
  void theCpuTakesOverFromAGpuThatIsLost() throws Exception {
    Path model = write(file -> {});
    AtomicBoolean failed = new AtomicBoolean();
    AtomicReference<Consumer<CudaException>> listener = new AtomicReference<>();
    CountDownLatch mayLoad = new CountDownLatch(1);
    BackgroundModels.Loader loader = (place, backend, lost) -> {
      if (backend == LlmProperties.Backend.CPU) {
        assertThat(uninterrupted(mayLoad)).isTrue();
      }
      ModelLoader.Loaded cpu = ModelLoader.load(place, KvPolicy.parse("full+fp16"), 1);
      listener.set(lost);
      return backend == LlmProperties.Backend.CPU ? cpu : new ModelLoader.Loaded(cpu.config(), cpu.tokenizer(),
          new FailingGpu(cpu.backend(), failed), cpu.sha256(), "cuda-fp16-full+fp16");
    };
    try (Loading loading = new Loading(new BackgroundModels(properties(model.toString()), SCHEDULER, loader))) {
      assertThat(loading.settled().backend()).isEqualTo("cuda");
      BackgroundModels models = loading.models();
      LanguageModel before = models.current(ModelRole.RANKING).orElseThrow();
      assertThat(lastLogits(before)).isNotEmpty();
      failed.set(true);
      assertThatThrownBy(() -> lastLogits(before)).isInstanceOf(CudaException.class);
      listener.get().accept(new CudaException("Running a kernel failed"));
      // Meanwhile requests are answered without a model.
      assertThat(models.current(ModelRole.RANKING)).isEmpty();
      assertThat(models.status().state()).isEqualTo(State.LOADING);
      assertThat(models.status().message()).contains("GPU failed");
      mayLoad.countDown();
      while (models.status().state() == State.LOADING) {
        Thread.onSpinWait();
      }
      assertThat(models.status().backend()).isEqualTo("cpu");
      LanguageModel after = models.current(ModelRole.RANKING).orElseThrow();
      assertThat(after.fingerprint()).isNotEqualTo(before.fingerprint());
      assertThat(lastLogits(after)).isNotEmpty();
    }
  }

  private static boolean uninterrupted(CountDownLatch latch) throws IOException {
    try {
      return latch.await(60, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      throw new IOException(e);
    }
  }

  @Test
  void aGpuThatFailsWhileItIsMadeReadyCostsTheGpuOnly() throws IOException {
    Path model = write(file -> {});
    BackgroundModels.Loader loader = (place, backend, lost) -> {
      if (backend != LlmProperties.Backend.CPU) {
        throw new CudaException("Allocating 7 bytes failed: CUDA error 2 (out of memory)");
      }
      return ModelLoader.load(place, KvPolicy.parse("full+fp16"), 1);
    };
    try (Loading loading = new Loading(new BackgroundModels(properties(model.toString()), SCHEDULER, loader))) {
      assertThat(loading.settled().backend()).isEqualTo("cpu");
    }
  }

  @Test
  void rolesRunWithTheirAdapters() throws IOException {
    Path model = write(file -> {});
    Path good = Files.createDirectory(directory.resolve("good"));
    Files.writeString(good.resolve("adapter_config.json"), "{\"peft_type\":\"LORA\",\"lora_alpha\":4}");
    String module = "base_model.model.model.layers.1.mlp.down_proj.lora_";
    Files.write(good.resolve("adapter_model.safetensors"), new SafetensorsBytes()
        .random(module + "A.weight", new Random(1), 1, 2, 24)
        .random(module + "B.weight", new Random(2), 1, 40, 2)
        .bytes());
    LlmProperties settings = new LlmProperties(
        model.toString(), CACHE, null, LlmProperties.Backend.AUTO, DataSize.ofBytes(0), DataSize.ofBytes(0),
        KERNELS, Numbers.FP16, GpuWeights.FULL, 1, "full+fp16", 8,
        new Adapters(good.toString(), directory.resolve("absent").toString()));
    try (Loading loading = new Loading(models(settings))) {
      Status status = loading.settled();
      assertThat(status.state()).isEqualTo(State.READY);
      assertThat(status.adapters()).element(0).isEqualTo(new Adapter(ModelRole.RANKING, good.toString(), true, null));
      assertThat(status.adapters().getLast().active()).isFalse();
      assertThat(status.adapters().getLast().message()).contains("There is no adapter at", "absent");
      LanguageModel ranking = loading.models().current(ModelRole.RANKING).orElseThrow();
      LanguageModel suggestion = loading.models().current(ModelRole.SUGGESTION).orElseThrow();
      assertThat(ranking.fingerprint()).matches("[0-9a-f]{32}\\+[0-9a-f]{32}-cpu-f32-full\\+fp16");
      assertThat(suggestion.fingerprint()).matches("[0-9a-f]{32}-cpu-f32-full\\+fp16");
      assertThat(lastLogits(ranking)).isNotEqualTo(lastLogits(suggestion));
    }
  }

  private static float[] lastLogits(LanguageModel model) {
    InferenceBackend.Pass pass = new InferenceBackend.Pass(
        new int[] {7, 8}, 0, List.of(), model.config().layers(), false, InferenceBackend.Logits.LAST, null);
    return model.backend().run(List.of(pass)).getFirst().logits()[0];
  }

  @Test
  void razorIsTheChoiceWhereRetrievalHeadsAreKnown() throws IOException {
    try (ModelLoader.Loaded tiny =
        ModelLoader.load(Path.of("src/test/resources/checkpoints/smollm2/model.safetensors"), null, 1)) {
      assertThat(tiny.backend().kvPolicy()).isEqualTo("full+fp16");
    }
    try (ModelLoader.Loaded measured = ModelLoader.load(TestModel.FILE, null, 1)) {
      assertThat(measured.backend().kvPolicy()).isEqualTo("razor(retrieval=0.15,sink=4,window=256)+fp16");
      assertThat(measured.fingerprint()).endsWith("-cpu-f32-razor(retrieval=0.15,sink=4,window=256)+fp16");
    }
  }

  @Test
  void misspeltPolicyStopsTheStart() {
    LlmProperties wrong =
        new LlmProperties("x", CACHE, null, LlmProperties.Backend.AUTO, DataSize.ofBytes(0), DataSize.ofBytes(0),
            KERNELS, Numbers.FP16, GpuWeights.FULL, 1, "full+int3", 8, NO_ADAPTERS);
    assertThatThrownBy(() -> models(wrong)).hasMessageContaining("int3");
  }

  @Test
  void defaults() {
    LlmProperties defaults =
        new Binder(new MapConfigurationPropertySource(Map.of())).bindOrCreate("attune.llm", LlmProperties.class);
    assertThat(defaults).isEqualTo(new LlmProperties(
        "~/.cache/attune/models/SmolLM2-135M-Instruct.Q4_1.gguf", CACHE, null, LlmProperties.Backend.AUTO,
        DataSize.ofBytes(0), DataSize.ofGigabytes(1), KERNELS, Numbers.FP16, GpuWeights.FULL, 0, "auto", 64,
        new Adapters("bundled", "bundled")));
    assertThat(defaults.threadsOrCores()).isEqualTo(Runtime.getRuntime().availableProcessors());
  }
}
