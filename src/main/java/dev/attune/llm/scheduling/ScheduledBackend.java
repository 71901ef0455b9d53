package dev.attune.llm.scheduling;

import dev.attune.llm.AttentionVisitor;
import dev.attune.llm.InferenceBackend;
import dev.attune.llm.KvSegment;
import dev.attune.llm.kv.KvCodec;
import dev.attune.llm.lora.LoraAdapter;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** A backend whose passes wait their turn. */
final class ScheduledBackend implements InferenceBackend {

  private final InferenceBackend backend;
  private final Scheduler scheduler;
  private final Scheduler.Line line;

  ScheduledBackend(InferenceBackend backend, Scheduler scheduler, Scheduler.Line line) {
    this.backend = backend;
    this.scheduler = scheduler;
    this.line = line;
  }

  @Override
  public String name() {
    return backend.name();
  }

  @Override
  public String kvPolicy() {
    return backend.kvPolicy();
  }

  @Override
  public List<PassResult> run(List<Pass> passes) {
    return scheduler.run(line, backend, passes);
  }

  @Override
  public KvSegment concat(List<KvSegment> segments) {
    return backend.concat(segments);
  }

  @Override
  public KvSegment retain(List<KvSegment> segments, Retained retained) {
    return backend.retain(segments, retained);
  }

  @Override
  public KvSegment slice(KvSegment segment, int from, int to) {
    return backend.slice(segment, from, to);
  }

  @Override
  public KvSegment recode(KvSegment segment, KvCodec codec) {
    return backend.recode(segment, codec);
  }

  @Override
  public void inspect(int[] tokens, int[] rows, AttentionVisitor visitor) {
    backend.inspect(tokens, rows, visitor);
  }

  @Override
  public MemorySegment image(KvSegment segment) {
    return backend.image(segment);
  }

  @Override
  public KvSegment restore(MemorySegment image) {
    return backend.restore(image);
  }

  @Override
  public boolean stored(KvSegment segment, MemorySegment image) {
    return backend.stored(segment, image);
  }

  @Override
  public void forget(KvSegment segment) {
    backend.forget(segment);
  }

  @Override
  public long ownMemory() {
    return backend.ownMemory();
  }

  @Override
  public int callsAtOnce() {
    return backend.callsAtOnce();
  }

  @Override
  public InferenceBackend with(LoraAdapter adapter) {
    return new ScheduledBackend(backend.with(adapter), scheduler, line);
  }

  @Override
  public Work work() {
    return backend.work();
  }
}
