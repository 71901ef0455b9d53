package dev.attune.suggestion;

import dev.attune.knowledge.UserErased;
import dev.attune.llm.InferenceBackend.Logits;
import dev.attune.llm.InferenceBackend.Pass;
import dev.attune.llm.KvSegment;
import dev.attune.llm.LanguageModel;
import dev.attune.searchlog.ActivityRecorded;
import java.util.Arrays;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.springframework.context.event.EventListener;
import org.springframework.stereotype.Component;

/**
 * Keys and values of prompt prefixes: the instruction, which is the same for everybody, and the newest context of the
 * most recent users. A user's context is dropped as soon as anything about them changes. Nothing is written to disk.
 */
@Component
class PromptPrefixes {

  private static final int STRIPES = 1024;

  private final SuggestionProperties properties;
  private final Map<String, Entry> users = new LinkedHashMap<>(64, 0.75f, true);
  private final AtomicLongArray changes = new AtomicLongArray(STRIPES);
  private long userBytes;
  private volatile @Nullable Entry instruction;

  PromptPrefixes(SuggestionProperties properties) {
    this.properties = properties;
  }

  /** Number that changes when something about the user changes; to be read before the user's data is. */
  long version(@Nullable String userId) {
    return userId == null ? 0 : changes.get(stripe(userId));
  }

  /** The instruction's keys and values, computed once per model. */
  Prefix instruction(LanguageModel model, int[] tokens) {
    Entry known = instruction;
    if (known != null && known.matches(model, tokens)) {
      return new Prefix(known.segment(), true);
    }
    KvSegment segment = read(model, tokens, 0, List.of());
    instruction = new Entry(model.fingerprint(), tokens, segment);
    return new Prefix(segment, false);
  }

  /**
   * The keys and values of a request's context after the instruction.
   *
   * @param userId null when the context is nobody's and need not be kept
   * @param version of {@link #version} before the context was read
   */
  Prefix context(LanguageModel model, @Nullable String userId, long version, int[] tokens, KvSegment instruction) {
    if (userId != null) {
      synchronized (users) {
        Entry known = users.get(userId);
        if (known != null && known.matches(model, tokens)) {
          return new Prefix(known.segment(), true);
        }
      }
    }
    KvSegment segment = read(model, tokens, instruction.firstPosition() + instruction.tokens(), List.of(instruction));
    if (userId != null && properties.prefixEntries() > 0) {
      keep(userId, version, new Entry(model.fingerprint(), tokens, segment));
    }
    return new Prefix(segment, false);
  }

  private void keep(String userId, long version, Entry entry) {
    synchronized (users) {
      if (changes.get(stripe(userId)) != version) {
        // The user changed or erased something while this was read.
        return;
      }
      remove(userId);
      users.put(userId, entry);
      userBytes += entry.segment().bytes();
      Iterator<Map.Entry<String, Entry>> oldest = users.entrySet().iterator();
      while (users.size() > properties.prefixEntries()
          || userBytes > properties.prefixSize().toBytes() && !users.isEmpty()) {
        userBytes -= oldest.next().getValue().segment().bytes();
        oldest.remove();
      }
    }
  }

  /** Forgets the context of a user. */
  void drop(String userId) {
    synchronized (users) {
      changes.incrementAndGet(stripe(userId));
      remove(userId);
    }
  }

  int size() {
    synchronized (users) {
      return users.size();
    }
  }

  @EventListener
  void onActivity(ActivityRecorded activity) {
    Stream.of(
            activity.queries().stream().map(query -> query.userId()),
            activity.events().stream().map(event -> event.userId()),
            activity.withdrawn().stream().map(item -> item.userId()))
        .flatMap(ids -> ids)
        .filter(Objects::nonNull)
        .distinct()
        .forEach(this::drop);
  }

  @EventListener
  void onErasure(UserErased erased) {
    drop(erased.userId());
  }

  private void remove(String userId) {
    Entry gone = users.remove(userId);
    if (gone != null) {
      userBytes -= gone.segment().bytes();
    }
  }

  private static int stripe(String userId) {
    return Math.floorMod(userId.hashCode(), STRIPES);
  }

  private static KvSegment read(LanguageModel model, int[] tokens, int position, List<KvSegment> context) {
    Pass pass = new Pass(tokens, position, context, model.config().layers(), true, Logits.NONE, null);
    KvSegment segment = model.backend().run(List.of(pass)).getFirst().kv();
    return Objects.requireNonNull(segment, "a pass with keepKv returns keys and values");
  }

  /**
   * A prefix.
   *
   * @param cached whether it was there before this request
   */
  record Prefix(KvSegment segment, boolean cached) {}

  private record Entry(String fingerprint, int[] tokens, KvSegment segment) {
    boolean matches(LanguageModel model, int[] wanted) {
      return fingerprint.equals(model.fingerprint()) && Arrays.equals(tokens, wanted);
    }
  }
}
