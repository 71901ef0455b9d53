package dev.attune.llm.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.attune.llm.cuda.Residency.Item;
import dev.attune.llm.cuda.Residency.Move;
import java.lang.foreign.MemorySegment;
import java.lang.ref.WeakReference;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;

/**
 * Decisions about where segments are, carried out on a model of the device: memory with contents, threads that fill the
 * host's memory when they like, and a stream whose copies happen as late as they may. A segment in use always has its
 * own numbers, whatever moved in between.
 */
class ResidencyTest {

  /** A device and its stream. */
  private static final class Machine {
    final Random random;
    final Residency residency;
    final long[] completed = {0};
    final Map<Item, Long> contents = new HashMap<>();
    final Map<Long, Long> device = new HashMap<>();
    final Map<Long, Long> host = new HashMap<>();
    /** What comes from files or the host and is not handed to the stream's thread. */
    final List<Runnable> filling = new ArrayList<>();
    /** Decided, not in the stream. */
    final Deque<Runnable> queue = new ArrayDeque<>();
    /** In the stream, not done: what happens to memory. */
    final Deque<Runnable> stream = new ArrayDeque<>();
    final List<Item> alive = new ArrayList<>();
    final List<Item> dead = new ArrayList<>();
    final List<List<Item>> uses = new ArrayList<>();
    final long limit;
    long reserved;
    long nextAddress = 1;
    long nextContent = 1;
    long batch;
    int saves;
    int failures;

    Machine(long seed, long limit, long hostBytes) {
      random = new Random(seed);
      this.limit = limit;
      residency = new Residency(limit, hostBytes, () -> completed[0]);
    }

    void enqueue(List<Move> moves) {
      for (Move move : moves) {
        saves += move.host() == HostRoom.NOWHERE ? 0 : 1;
        assertThat(move.address()).as("what leaves is there").isNotZero();
        queue.add(() -> {
          if (move.host() != HostRoom.NOWHERE) {
            residency.moved(move.item(), batch + 1);
          }
          stream.add(() -> {
            long content = device.remove(move.address());
            if (move.host() != HostRoom.NOWHERE) {
              host.put(move.host(), content);
            }
          });
        });
      }
      moves.clear();
    }

    void create() {
      long bytes = 256L * (1 + random.nextInt(4));
      List<Move> moves = new ArrayList<>();
      boolean fits = residency.reserve(bytes, moves);
      enqueue(moves);
      if (fits) {
        issueAll();
        long address = nextAddress++;
        Item item = residency.created(bytes, address);
        device.put(address, nextContent);
        contents.put(item, nextContent++);
        alive.add(item);
        uses.add(new ArrayList<>(List.of(item)));
      }
    }

    void restore() {
      Item item = residency.readable(MemorySegment.ofArray(new byte[256 * (1 + random.nextInt(4))]));
      contents.put(item, nextContent++);
      alive.add(item);
    }

    /** A segment that was made on the device is written to a file. */
    void store() {
      alive.stream().filter(item -> item.source() == null).findAny()
          .ifPresent(item -> residency.stored(item, MemorySegment.ofArray(new byte[(int) item.bytes]), item));
    }

    void claim() {
      Collections.shuffle(alive, random);
      List<Item> items = new ArrayList<>(alive.subList(0, Math.min(alive.size(), 1 + random.nextInt(4))));
      List<Move> moves = new ArrayList<>();
      List<Item> arriving = new ArrayList<>();
      long more = 256L * random.nextInt(3);
      boolean fits = residency.claim(items, more, moves, arriving);
      enqueue(moves);
      if (!fits) {
        assertThat(arriving).isEmpty();
        return;
      }
      reserved += more;
      arriving.forEach(item -> filling.add(() -> fill(item)));
      uses.add(items);
      items.forEach(item -> assertThat(item.onDevice()).isTrue());
      residency.unreserve(more);
      reserved -= more;
    }

    /** One of several threads gets to an item, in any order, whatever the stream is at. */
    void fillOne() {
      if (!filling.isEmpty()) {
        filling.remove(random.nextInt(filling.size())).run();
      }
    }

    private void fill(Item item) {
      if (item.staging() && fails(item)) {
        return;
      }
      if (item.staging()) {
        host.put(item.host(), contents.get(item));
      }
      queue.add(() -> arrive(item));
    }

    private boolean fails(Item item) {
      boolean fails = random.nextInt(20) == 0;
      if (fails) {
        failures++;
        residency.failed(item, new CudaException("no memory"));
      }
      return fails;
    }

    private void arrive(Item item) {
      if (fails(item)) {
        return;
      }
      long address = nextAddress++;
      long from = item.host();
      item.address = address;
      residency.arrived(item, batch + 1);
      stream.add(() -> device.put(address, from == HostRoom.NOWHERE ? contents.get(item) : host.get(from)));
    }

    void issueAll() {
      while (!queue.isEmpty()) {
        queue.poll().run();
      }
      batch++;
    }

    void finish() {
      while (!filling.isEmpty()) {
        fillOne();
      }
      issueAll();
      while (!stream.isEmpty()) {
        stream.poll().run();
      }
      completed[0] = batch;
    }

    void release() {
      List<Item> use = uses.remove(random.nextInt(uses.size()));
      finish();
      for (Item item : use) {
        // What could not be brought fails the call that wanted it.
        if (item.onDevice()) {
          assertThat(device.get(item.address)).as("numbers of a segment in use").isEqualTo(contents.get(item));
        }
        residency.release(item);
      }
    }

    void die() {
      if (!alive.isEmpty()) {
        dead.add(alive.removeLast());
      }
      List<Move> moves = new ArrayList<>();
      dead.removeIf(item -> residency.remove(item, moves));
      enqueue(moves);
    }

    void check() {
      long used = reserved;
      for (List<Item> all : List.of(alive, dead)) {
        for (Item item : all) {
          used += item.onDevice() ? item.bytes : 0;
          boolean somewhere = item.onDevice() || item.host() != HostRoom.NOWHERE || item.source() != null;
          assertThat(somewhere).as("a segment has a copy").isTrue();
        }
      }
      assertThat(residency.used()).isEqualTo(used).isLessThanOrEqualTo(limit);
    }
  }

  @Property(tries = 400)
  void segmentsInUseHaveTheirNumbers(
      @ForAll long seed, @ForAll @IntRange(min = 4, max = 24) int device, @ForAll @IntRange(max = 24) int host) {
    Machine machine = new Machine(seed, 256L * device, 256L * host);
    for (int step = 0; step < 300; step++) {
      int what = machine.random.nextInt(15);
      switch (what) {
        case 0, 1 -> machine.create();
        case 2, 3 -> machine.restore();
        case 4, 5, 6 -> machine.claim();
        case 7 -> machine.die();
        case 8 -> machine.issueAll();
        case 9 -> machine.finish();
        case 10, 11 -> machine.fillOne();
        case 12 -> machine.store();
        default -> {
          if (!machine.uses.isEmpty()) {
            machine.release();
          }
        }
      }
      machine.check();
    }
    while (!machine.uses.isEmpty()) {
      machine.release();
    }
    machine.finish();
    machine.dead.addAll(machine.alive);
    machine.alive.clear();
    for (int i = 0; i < 2; i++) {
      machine.die();
      machine.finish();
    }
    assertThat(machine.dead).isEmpty();
    assertThat(machine.residency.used()).isZero();
    assertThat(machine.residency.hostBytes()).isZero();
    assertThat(machine.device).as("memory that was not given back").isEmpty();
  }

  private static Item created(Residency residency, long bytes) {
    List<Move> moves = new ArrayList<>();
    assertThat(residency.reserve(bytes, moves)).isTrue();
    Item item = residency.created(bytes, 1);
    residency.release(item);
    moves.forEach(move -> residency.moved(move.item(), 1));
    return item;
  }

  @Test
  void whatWasUsedLongestAgoMoves() {
    Residency residency = new Residency(1024, 4096, () -> 1);
    Item first = created(residency, 512);
    Item second = created(residency, 512);
    assertThat(residency.claim(List.of(first), 0, new ArrayList<>(), new ArrayList<>())).isTrue();
    residency.release(first);
    Item third = created(residency, 512);
    assertThat(first.onDevice()).isTrue();
    assertThat(second.onDevice()).isFalse();
    assertThat(second.host()).isNotEqualTo(HostRoom.NOWHERE);
    assertThat(third.onDevice()).isTrue();
    assertThat(residency.saved()).isEqualTo(1);
  }

  @Test
  void withoutHostMemoryOnlyWhatCanBeReadAgainMakesRoom() {
    Residency residency = new Residency(1024, 0, () -> 1);
    created(residency, 512);
    List<Move> moves = new ArrayList<>();
    Item readable = residency.readable(MemorySegment.ofArray(new byte[512]));
    List<Item> arriving = new ArrayList<>();
    assertThat(residency.claim(List.of(readable), 0, moves, arriving)).isTrue();
    assertThat(arriving).containsExactly(readable);
    readable.address = 2;
    residency.arrived(readable, 1);
    residency.release(readable);
    assertThat(residency.reserve(512, moves)).isTrue();
    assertThat(moves).extracting(Move::item).containsExactly(readable);
    assertThat(residency.reserve(512, moves)).as("the other one cannot move").isFalse();
  }

  @Test
  void aStoredSegmentIsKeptUntilItIsForgottenOrHasMadeRoom() {
    for (boolean forgotten : new boolean[] {false, true}) {
      Residency residency = new Residency(1024, 0, () -> 1);
      Item item = created(residency, 512);
      Object segment = new Object();
      WeakReference<Object> held = new WeakReference<>(segment);
      residency.stored(item, MemorySegment.ofArray(new byte[512]), segment);
      segment = null;
      System.gc();
      assertThat(held.get()).isNotNull();
      if (forgotten) {
        residency.forget(item);
      } else {
        created(residency, 1024);
        assertThat(item.onDevice()).as("it can be read, so it may go").isFalse();
      }
      Awaitility.await().until(() -> {
        System.gc();
        return held.get() == null;
      });
    }
  }

  @Test
  void nothingLargerThanTheLimitMovesAnything() {
    Residency residency = new Residency(1024, 4096, () -> 1);
    Item small = created(residency, 512);
    List<Move> moves = new ArrayList<>();
    assertThat(residency.reserve(2048, moves)).isFalse();
    assertThat(moves).isEmpty();
    assertThat(small.onDevice()).isTrue();
  }

  @Test
  void aLostCopyIsNotUsed() {
    Residency residency = new Residency(512, 512, () -> 1);
    Item item = created(residency, 512);
    created(residency, 512);
    residency.lose(item);
    assertThatThrownBy(() -> residency.claim(List.of(item), 0, new ArrayList<>(), new ArrayList<>()))
        .isInstanceOf(CudaException.class).hasMessageContaining("lost");
  }
}
