package dev.attune.llm.cuda;

import java.lang.foreign.MemorySegment;
import java.util.Collection;
import java.util.Iterator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Decides which segments are on the device and which in pinned memory of the host: what was used longest ago and nobody
 * uses makes room, on the device by moving to the host, on the host by going where it can be had again. Only accounts:
 * what is to be copied is handed out as {@link Move}s, which must be carried out in the order in which they were handed
 * out, together with the arrivals, since a later one may rely on an earlier one. Not thread-safe: guarded by the lock
 * of {@link DeviceRoom}.
 */
final class Residency {

  /** Of a copy that has been decided on and not begun. */
  private static final long PENDING = Long.MAX_VALUE;

  /** The numbers of one segment. */
  static final class Item {
    final long bytes;
    /** Where they can be read again, or null when these are the only ones. */
    private volatile @Nullable MemorySegment source;
    /** On the device; set by who carries out an arrival, 0 when they are not there. */
    long address;
    private @Nullable Object keeper;
    /**
     * While they are on their way to the device: completes when all that was to be done has been put into the stream.
     */
    @Nullable CompletableFuture<Long> arrival;
    private boolean onDevice;
    private long host = HostRoom.NOWHERE;
    /** The place on the host was taken for this arrival and is not filled yet. */
    private boolean staging;
    private int users;
    /** Number of the last copy from or to {@link #host}. */
    private long copy;
    private boolean lost;
    private boolean forgotten;

    private Item(long bytes, @Nullable MemorySegment source) {
      this.bytes = bytes;
      this.source = source;
    }

    /** Where the numbers can be read again, or null when these are the only ones. */
    @Nullable MemorySegment source() {
      return source;
    }

    /** On the device, or on the way there. */
    boolean onDevice() {
      return onDevice;
    }

    /** Offset in pinned memory, or {@link HostRoom#NOWHERE}. */
    long host() {
      return host;
    }

    /** Whether {@link #host} has to be filled from {@link #source} before the copy to the device. */
    boolean staging() {
      return staging;
    }

    long copy() {
      return copy;
    }
  }

  /**
   * Memory of the device to be freed.
   *
   * @param host where the numbers go before, or {@link HostRoom#NOWHERE}
   */
  record Move(Item item, long address, long host) {}

  private final long limit;
  private final HostRoom room;
  private final LongSupplier completed;
  /** Least recently used first. */
  private final LinkedHashSet<Item> onDevice = new LinkedHashSet<>();
  private final LinkedHashSet<Item> onHost = new LinkedHashSet<>();
  private long used;
  private long saved;

  /**
   * Starts with nothing.
   *
   * @param limit bytes on the device
   * @param hostBytes bytes on the host
   * @param completed number of the last copy that is known to have ended
   */
  Residency(long limit, long hostBytes, LongSupplier completed) {
    this.limit = limit;
    this.room = new HostRoom(hostBytes);
    this.completed = completed;
  }

  /** Bytes on the device, on their way there, and reserved. */
  long used() {
    return used;
  }

  long hostBytes() {
    return room.taken();
  }

  long limit() {
    return limit;
  }

  /** Segments that were copied to the host to make room. */
  long saved() {
    return saved;
  }

  /** A new segment on the device with room that was {@linkplain #makeRoom made} or reserved; in use. */
  Item created(long bytes, long address) {
    Item item = new Item(bytes, null);
    item.address = address;
    item.onDevice = true;
    item.users = 1;
    onDevice.add(item);
    return item;
  }

  /** A segment that can be read when it is needed. */
  Item readable(MemorySegment source) {
    return new Item(Math.max(16, source.byteSize()), source);
  }

  /** A segment whose numbers can be read from now on, and which is {@linkplain #keep kept} where they are. */
  void stored(Item item, MemorySegment source, Object segment) {
    item.source = source;
    if (item.onDevice || item.host != HostRoom.NOWHERE) {
      keep(item, segment);
    }
  }

  /**
   * Takes so many bytes of the device.
   *
   * @param moves what has to be done before they are there; also filled when the result is false
   */
  boolean reserve(long bytes, List<Move> moves) {
    for (Iterator<Item> eldest = onDevice.iterator(); used + bytes > limit && bytes <= limit && eldest.hasNext(); ) {
      Item item = eldest.next();
      if (item.users == 0 && item.arrival == null && leave(item, moves)) {
        eldest.remove();
      }
    }
    if (used + bytes > limit) {
      return false;
    }
    used += bytes;
    return true;
  }

  /** Gives back what was reserved and did not become a segment, or the memory of one that is gone. */
  void unreserve(long bytes) {
    used -= bytes;
  }

  private boolean leave(Item item, List<Move> moves) {
    long to = HostRoom.NOWHERE;
    if (item.host == HostRoom.NOWHERE) {
      to = hostRoom(item.bytes);
      if (to == HostRoom.NOWHERE && item.source == null) {
        return false;
      }
      if (to != HostRoom.NOWHERE) {
        item.host = to;
        item.copy = PENDING;
        onHost.add(item);
        saved++;
      }
    }
    moves.add(new Move(item, item.address, to));
    item.address = 0;
    item.onDevice = false;
    used -= item.bytes;
    if (item.host == HostRoom.NOWHERE) {
      item.keeper = null;
    }
    return true;
  }

  /** A place on the host, made by dropping copies of what is on the device too, then of what can be read again. */
  private long hostRoom(long bytes) {
    if (!room.canHold(bytes)) {
      return HostRoom.NOWHERE;
    }
    long at = room.take(bytes);
    for (int round = 0; round < 2; round++) {
      for (Iterator<Item> eldest = onHost.iterator(); at == HostRoom.NOWHERE && eldest.hasNext(); ) {
        Item item = eldest.next();
        if ((round == 0 ? item.onDevice : item.source != null) && !copying(item)) {
          eldest.remove();
          dropHost(item);
          at = room.take(bytes);
        }
      }
    }
    return at;
  }

  private void dropHost(Item item) {
    room.give(item.host, item.bytes);
    item.host = HostRoom.NOWHERE;
    if (!item.onDevice) {
      item.keeper = null;
    }
  }

  /** Whether a copy reads or writes the item's place on the host, or will. */
  private boolean copying(Item item) {
    return item.arrival != null || item.copy > completed.getAsLong();
  }

  /**
   * Takes items into use, and so many bytes beside; all or nothing.
   *
   * @param items each once
   * @param moves as of {@link #reserve}
   * @param arriving filled with those that the caller has to bring to the device, and to tell {@link #arrived} or
   *     {@link #failed} of; what is on its way already is not among them
   * @throws CudaException when the only copy of one was lost
   */
  boolean claim(Collection<Item> items, long more, List<Move> moves, List<Item> arriving) {
    long needed = more;
    for (Item item : items) {
      if (item.lost) {
        throw new CudaException("Keys and values were lost when they were moved to the host");
      }
      needed += item.onDevice ? 0 : item.bytes;
    }
    // What is wanted must not make room itself.
    items.forEach(item -> item.users++);
    if (!reserve(needed, moves)) {
      items.forEach(item -> item.users--);
      return false;
    }
    for (Item item : items) {
      onDevice.remove(item);
      onDevice.add(item);
      if (onHost.remove(item)) {
        onHost.add(item);
      }
      if (!item.onDevice) {
        item.onDevice = true;
        item.arrival = new CompletableFuture<>();
        arriving.add(item);
      }
    }
    for (Item item : arriving) {
      if (item.host == HostRoom.NOWHERE) {
        item.host = hostRoom(item.bytes);
        if (item.host != HostRoom.NOWHERE) {
          item.staging = true;
          item.copy = PENDING;
          onHost.add(item);
        }
      }
    }
    return true;
  }

  /** The copy to the device is in the stream, with this number. */
  void arrived(Item item, long copy) {
    CompletableFuture<Long> waiting = item.arrival;
    item.arrival = null;
    item.staging = false;
    item.copy = copy;
    if (waiting != null) {
      waiting.complete(copy);
    }
  }

  /** The item could not be brought to the device. */
  void failed(Item item, Throwable reason) {
    CompletableFuture<Long> waiting = item.arrival;
    item.arrival = null;
    item.onDevice = false;
    item.address = 0;
    onDevice.remove(item);
    used -= item.bytes;
    if (item.staging) {
      // No copy was begun.
      item.staging = false;
      item.copy = 0;
      onHost.remove(item);
      dropHost(item);
    } else if (item.host == HostRoom.NOWHERE) {
      item.keeper = null;
    }
    if (waiting != null) {
      waiting.completeExceptionally(reason);
    }
  }

  /** A move to the host is in the stream, with this number. */
  void moved(Item item, long copy) {
    item.copy = copy;
  }

  /** A move to the host failed, and with it the copy that later uses would rely on. */
  void lose(Item item) {
    item.lost = true;
  }

  /** Keeps a segment that can be read again reachable as long as its numbers are on the device or the host. */
  void keep(Item item, Object segment) {
    if (item.source != null && !item.forgotten) {
      item.keeper = segment;
    }
  }

  /** Ends {@linkplain #keep keeping}. */
  void forget(Item item) {
    item.forgotten = true;
    item.keeper = null;
  }

  /** Ends all keeping. */
  void forgetAll() {
    onDevice.forEach(this::forget);
    onHost.forEach(this::forget);
  }

  /** Ends one use. */
  void release(Item item) {
    item.users--;
  }

  /**
   * Forgets a segment that nobody can reach any more.
   *
   * @return false when it has to be tried again later, since a pass or a copy still uses its memory
   */
  boolean remove(Item item, List<Move> moves) {
    if (item.users > 0 || item.arrival != null || item.host != HostRoom.NOWHERE && copying(item)) {
      return false;
    }
    if (item.onDevice) {
      onDevice.remove(item);
      moves.add(new Move(item, item.address, HostRoom.NOWHERE));
      item.onDevice = false;
      item.address = 0;
      used -= item.bytes;
    }
    if (item.host != HostRoom.NOWHERE) {
      onHost.remove(item);
      dropHost(item);
    }
    return true;
  }
}
