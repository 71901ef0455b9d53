package dev.attune.llm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.checkpoint.Checkpoint;
import dev.attune.llm.cpu.CpuBackend;
import dev.attune.llm.kv.KvPolicy;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The check of a backend against itself: passes where it computes rightly, and sees what goes wrong in one of its ways.
 */
class SelfCheckTest {

  @TempDir private Path directory;
  private Checkpoint checkpoint;
  private CpuBackend backend;

  @BeforeEach
  void load() throws IOException {
    Path path = directory.resolve("tiny.gguf");
    Files.write(path, TinyGguf.model(7, 3, 128, 6, 2, 64, 192, true).bytes());
    checkpoint = Checkpoint.open(path);
    backend = CpuBackend.load(checkpoint, KvPolicy.parse("full+fp16"), 2);
  }

  @AfterEach
  void close() throws IOException {
    backend.close();
    checkpoint.close();
  }

  /** The backend with passes changed before it runs them, as a wrong kernel would. */
  private Optional<String> complaint(UnaryOperator<Pass> wrong) {
    return complaint(backend, checkpoint.config(), wrong);
  }

  private static Optional<String> complaint(InferenceBackend backend, ModelConfig config, UnaryOperator<Pass> wrong) {
    InferenceBackend changed = (InferenceBackend) Proxy.newProxyInstance(
        SelfCheckTest.class.getClassLoader(), new Class<?>[] {InferenceBackend.class}, (_, method, arguments) ->
            backend.run(((List<?>) arguments[0]).stream().map(pass -> wrong.apply((Pass) pass)).toList()));
    return SelfCheck.of(changed, config).beyond(SelfCheck.LIMIT);
  }

  private static Pass over(Pass pass, List<KvSegment> context) {
    return new Pass(
        pass.tokens(), pass.firstPosition(), context, pass.layers(), pass.keepKv(), pass.logits(), pass.probe());
  }

  @ParameterizedTest
  @ValueSource(strings = {"full+fp16", "full+bf16", "full+f32", "full+int8", "streaming(sink=4,window=256)+fp16"})
  void theCpuAgreesWithItself(String policy) throws IOException {
    try (CpuBackend kept = CpuBackend.load(checkpoint, KvPolicy.parse(policy), 2)) {
      SelfCheck.Differences found = SelfCheck.of(kept, checkpoint.config());
      assertThat(found.byWay()).as(policy).hasSize(10).allSatisfy((way, by) -> assertThat(by).isLessThan(0.01));
      assertThat(found.beyond(SelfCheck.LIMIT)).isEmpty();
    }
  }

  @Test
  void aLastBlockThatMissesItsContext() {
    assertThat(complaint(pass -> pass.tokens().length == 40 && pass.logits() == Logits.LAST
        ? over(pass, List.of()) : pass)).hasValueSatisfying(
            said -> assertThat(said).matches("a last block differs by \\d\\.\\d{3} from reading at once"));
  }

  @Test
  void resultsOfLastBlocksInAnotherOrder() {
    InferenceBackend changed = (InferenceBackend) Proxy.newProxyInstance(
        SelfCheckTest.class.getClassLoader(), new Class<?>[] {InferenceBackend.class}, (_, method, arguments) -> {
          List<InferenceBackend.PassResult> results =
              new ArrayList<>(backend.run(((List<?>) arguments[0]).stream().map(Pass.class::cast).toList()));
          Collections.rotate(results, 1);
          return results;
        });
    assertThat(SelfCheck.of(changed, checkpoint.config()).beyond(SelfCheck.LIMIT)).hasValueSatisfying(
        said -> assertThat(said).startsWith("a last block beside others differs"));
  }

  @Test
  void aTokenAtAWrongPosition() {
    assertThat(complaint(pass -> pass.tokens().length > 1 ? pass : new Pass(pass.tokens(), 900, pass.context(),
        pass.layers(), pass.keepKv(), pass.logits(), pass.probe()))).hasValueSatisfying(
            said -> assertThat(said).startsWith("decoding differs"));
  }

  @Test
  void massesOfOtherSegments() {
    assertThat(complaint(pass -> pass.probe() == null || pass.keepKv() ? pass
        : over(pass, List.of(pass.context().get(1), pass.context().get(0), pass.context().get(2))))).hasValueSatisfying(
            said -> assertThat(said).startsWith("the score of a last block differs"));
  }

  /** A smaller fault, which a real model shows. */
  @Test
  void theDefaultModelMissesASegment() {
    LanguageModel model = TestModel.get();
    assertThat(SelfCheck.of(model.backend(), model.config()).beyond(SelfCheck.LIMIT / 10)).isEmpty();
    assertThat(complaint(model.backend(), model.config(), pass -> pass.tokens().length == 40
        && pass.logits() == Logits.LAST ? over(pass, List.of(pass.context().get(0), pass.context().get(2))) : pass))
        .isPresent();
  }
}
