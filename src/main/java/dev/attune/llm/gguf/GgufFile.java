package dev.attune.llm.gguf;

import dev.attune.llm.ModelFileException;
import dev.attune.llm.checkpoint.WeightTensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A memory-mapped GGUF file, versions 2 and 3 (little-endian).
 *
 * <p>Layout: magic {@code GGUF}, version u32, tensor count u64, metadata count u64; metadata as key string, type u32,
 * value; tensor infos as name string, dimension count u32, dimensions u64, type u32, offset u64; padding to {@code
 * general.alignment} (default 32); tensor data, offsets relative to here. A string is a u64 length and UTF-8 bytes.
 *
 * <p>Every length, count and offset is checked against the file's size before it is used, so a damaged file costs a
 * {@link ModelFileException}, never memory or a crash.
 */
public final class GgufFile implements AutoCloseable {

  private static final int MAGIC = 0x46554747;
  private static final int ARRAY = 9;
  /** ggml's limit. */
  private static final int MAX_DIMENSIONS = 4;
  private static final int MAX_NESTING = 4;

  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final Path path;
  private final Arena arena;
  private final MemorySegment file;
  private final Map<String, Object> metadata = new LinkedHashMap<>();
  private final Map<String, GgufTensor> tensors = new LinkedHashMap<>();
  private long position;

  private GgufFile(Path path, Arena arena, MemorySegment file) {
    this.path = path;
    this.arena = arena;
    this.file = file;
  }

  /**
   * Maps and parses a file.
   *
   * @throws ModelFileException when it is not a complete GGUF file of tensors that can be read
   * @throws IOException when it cannot be opened
   */
  @SuppressWarnings("MustBeClosedChecker") // the file owns the arena
  public static GgufFile open(Path path) throws IOException {
    Arena arena = Arena.ofShared();
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      GgufFile file = new GgufFile(path, arena, channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena));
      file.parse();
      return file;
    } catch (IOException | RuntimeException e) {
      arena.close();
      throw e;
    }
  }

  /** All bytes of the file. */
  public MemorySegment bytes() {
    return file;
  }

  public boolean has(String key) {
    return metadata.containsKey(key);
  }

  /** A text value. */
  public String text(String key) {
    return value(key, String.class);
  }

  /** A truth value. */
  public boolean flag(String key) {
    return value(key, Boolean.class);
  }

  /** An integer value within the range of int. */
  public int integer(String key) {
    long value = value(key, Long.class);
    if (value != (int) value) {
      throw error("metadata '" + key + "' is " + value + ", out of range");
    }
    return (int) value;
  }

  public int integer(String key, int orElse) {
    return has(key) ? integer(key) : orElse;
  }

  /** A floating-point or integer value. */
  public double number(String key) {
    return value(key, Number.class).doubleValue();
  }

  public double number(String key, double orElse) {
    return has(key) ? number(key) : orElse;
  }

  /** An array of texts. */
  public List<String> texts(String key) {
    return list(key, String.class);
  }

  /** An array of integers. */
  public List<Long> integers(String key) {
    return list(key, Long.class);
  }

  /** All tensors, in the order of the file. */
  public Collection<GgufTensor> tensors() {
    return Collections.unmodifiableCollection(tensors.values());
  }

  /** An array of floating-point numbers. */
  public List<Double> numbers(String key) {
    return list(key, Double.class);
  }

  /** Whether there is a tensor of this name. */
  public boolean hasTensor(String name) {
    return tensors.containsKey(name);
  }

  /** A tensor that must be there with this shape; a vector has one row. */
  public GgufTensor tensor(String name, int rows, int columns) {
    GgufTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw error("tensor '" + name + "' is missing");
    }
    if (tensor.rows() != rows || tensor.columns() != columns) {
      throw error("tensor " + tensor + " should have shape [" + rows + ", " + columns + "]");
    }
    return tensor;
  }

  /** Unmaps the file; tensors cannot be read any more. */
  @Override
  public void close() {
    arena.close();
  }

  /** An error that names the file. */
  public ModelFileException error(String what) {
    return new ModelFileException(path.getFileName() + ": " + what);
  }

  private <T> T value(String key, Class<T> type) {
    Object value = metadata.get(key);
    if (value == null) {
      throw error("metadata '" + key + "' is missing");
    }
    if (!type.isInstance(value)) {
      throw error("metadata '" + key + "' has an unexpected type");
    }
    return type.cast(value);
  }

  private <T> List<T> list(String key, Class<T> type) {
    List<?> values = value(key, List.class);
    List<T> result = new ArrayList<>(values.size());
    for (Object value : values) {
      if (!type.isInstance(value)) {
        throw error("metadata '" + key + "' has elements of an unexpected type");
      }
      result.add(type.cast(value));
    }
    return Collections.unmodifiableList(result);
  }

  private void parse() {
    if (file.byteSize() < 24 || file.get(INT, 0) != MAGIC) {
      throw error("not a GGUF file");
    }
    position = 4;
    int version = readInt("version");
    if (version != 2 && version != 3) {
      throw error("GGUF version " + Integer.toUnsignedString(version) + " is not supported (2 and 3 are)");
    }
    // A tensor info takes at least 24 bytes, a metadata entry at least 13.
    long tensorCount = readCount("tensor count", 24);
    long metadataCount = readCount("metadata count", 13);
    for (long i = 0; i < metadataCount; i++) {
      String key = readString("metadata key " + i);
      Object value = readValue("metadata '" + key + "'", readInt("type of metadata '" + key + "'"), 0);
      if (metadata.put(key, value) != null) {
        throw error("metadata '" + key + "' appears twice");
      }
    }
    List<Info> infos = new ArrayList<>();
    for (long i = 0; i < tensorCount; i++) {
      infos.add(readInfo(i));
    }
    int alignment = integer("general.alignment", 32);
    if (alignment < 1 || Integer.bitCount(alignment) != 1) {
      throw error("general.alignment is " + alignment + ", not a power of two");
    }
    long start = (position + alignment - 1) / alignment * alignment;
    for (Info info : infos) {
      addTensor(info, start);
    }
    WeightTensor.requireDisjoint(tensors.values(), this::error);
  }

  private record Info(String name, long[] dimensions, int type, long offset) {}

  private Info readInfo(long index) {
    String name = readString("name of tensor " + index);
    int count = readInt("dimension count of tensor '" + name + "'");
    if (count < 1 || count > MAX_DIMENSIONS) {
      throw error("tensor '" + name + "' has " + Integer.toUnsignedString(count) + " dimensions");
    }
    long[] dimensions = new long[count];
    for (int d = 0; d < count; d++) {
      dimensions[d] = readLong("dimensions of tensor '" + name + "'");
    }
    return new Info(name, dimensions, readInt("type of tensor '" + name + "'"), readLong("offset of '" + name + "'"));
  }

  private void addTensor(Info info, long start) {
    GgmlType type = Arrays.stream(GgmlType.values())
        .filter(t -> t.code == info.type())
        .findFirst()
        .orElseThrow(() -> error("tensor '%s' has element type %s, which is not supported (%s are)"
            .formatted(info.name(), Integer.toUnsignedString(info.type()), Arrays.toString(GgmlType.values()))));
    long columns = info.dimensions()[0];
    long rows = 1;
    for (int d = 1; d < info.dimensions().length; d++) {
      rows = multiply(info, rows, info.dimensions()[d]);
    }
    if (columns < 1 || rows < 1 || columns > Integer.MAX_VALUE || rows > Integer.MAX_VALUE) {
      throw error("tensor '" + info.name() + "' has shape " + Arrays.toString(info.dimensions()));
    }
    if (columns % type.blockSize != 0) {
      throw error("rows of tensor '%s' have %d values, not a multiple of %s's block of %d"
          .formatted(info.name(), columns, type, type.blockSize));
    }
    long bytes = multiply(info, rows, type.bytes(columns));
    long room = file.byteSize() - start;
    if (info.offset() < 0 || bytes > room || info.offset() > room - bytes) {
      throw error("tensor '%s' reaches past the end of the file; it is damaged or not completely downloaded"
          .formatted(info.name()));
    }
    MemorySegment data = file.asSlice(start + info.offset(), bytes);
    if (tensors.put(info.name(), new GgufTensor(info.name(), type, (int) columns, (int) rows, data)) != null) {
      throw error("tensor '" + info.name() + "' appears twice");
    }
  }

  private long multiply(Info info, long a, long b) {
    if (a < 0 || b < 0 || Math.multiplyHigh(a, b) != 0 || a * b < 0) {
      throw error("tensor '" + info.name() + "' has shape " + Arrays.toString(info.dimensions()));
    }
    return a * b;
  }

  private Object readValue(String what, int type, int depth) {
    return switch (type) {
      case 0 -> (long) (file.get(ValueLayout.JAVA_BYTE, advance(1, what)) & 0xff);
      case 1 -> (long) file.get(ValueLayout.JAVA_BYTE, advance(1, what));
      case 2 -> (long) (file.get(SHORT, advance(2, what)) & 0xffff);
      case 3 -> (long) file.get(SHORT, advance(2, what));
      case 4 -> Integer.toUnsignedLong(readInt(what));
      case 5 -> (long) readInt(what);
      case 6 -> (double) Float.intBitsToFloat(readInt(what));
      case 7 -> file.get(ValueLayout.JAVA_BYTE, advance(1, what)) != 0;
      case 8 -> readString(what);
      case ARRAY -> readArray(what, depth);
      // An unsigned value past 2^63 appears negative; no key in use needs one.
      case 10, 11 -> readLong(what);
      case 12 -> Double.longBitsToDouble(readLong(what));
      default -> throw error(what + " has unknown type " + Integer.toUnsignedString(type));
    };
  }

  private List<@Nullable Object> readArray(String what, int depth) {
    if (depth >= MAX_NESTING) {
      throw error(what + " nests too deeply");
    }
    int type = readInt(what);
    int smallest = switch (type) {
      case 0, 1, 7 -> 1;
      case 2, 3 -> 2;
      case 4, 5, 6 -> 4;
      case ARRAY -> 12;
      default -> 8;
    };
    long count = readCount("length of " + what, smallest);
    List<@Nullable Object> values = new ArrayList<>();
    for (long i = 0; i < count; i++) {
      values.add(readValue(what, type, depth + 1));
    }
    return values;
  }

  private String readString(String what) {
    long length = readCount("length of " + what, 1);
    if (length > Integer.MAX_VALUE - 8) {
      throw error(what + " is " + length + " bytes long");
    }
    byte[] bytes = new byte[(int) length];
    MemorySegment.copy(file, ValueLayout.JAVA_BYTE, advance(length, what), bytes, 0, bytes.length);
    return new String(bytes, StandardCharsets.UTF_8);
  }

  /** Reads a count of things that take at least {@code smallest} bytes each, all of which must still be ahead. */
  private long readCount(String what, int smallest) {
    long count = readLong(what);
    if (count < 0 || count > (file.byteSize() - position) / smallest) {
      throw error("%s is %s, more than the file of %d bytes can hold; it is damaged or not completely downloaded"
          .formatted(what, Long.toUnsignedString(count), file.byteSize()));
    }
    return count;
  }

  private int readInt(String what) {
    return file.get(INT, advance(4, what));
  }

  private long readLong(String what) {
    return file.get(LONG, advance(8, what));
  }

  private long advance(long bytes, String what) {
    if (bytes > file.byteSize() - position) {
      throw error("ends inside " + what + "; it is damaged or not completely downloaded");
    }
    long at = position;
    position += bytes;
    return at;
  }
}
