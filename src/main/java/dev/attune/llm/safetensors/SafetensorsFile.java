package dev.attune.llm.safetensors;

import dev.attune.llm.ModelFileException;
import dev.attune.llm.checkpoint.WeightTensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * A safetensors file, memory-mapped or in memory.
 *
 * <p>Layout: header length u64, header (a JSON object of {@code name: {dtype, shape, data_offsets: [begin, end]}}, and
 * {@code __metadata__}), data; offsets count from the end of the header.
 *
 * <p>Lengths, shapes and offsets are checked against each other and the file's size before they are used; tensors may
 * not overlap. A damaged file costs a {@link ModelFileException}, never memory or a crash.
 */
public final class SafetensorsFile implements AutoCloseable {

  /** The format's own limit. */
  private static final long MAX_HEADER = 100_000_000;

  private static final int MAX_DIMENSIONS = 8;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private static final JsonMapper JSON = JsonMapper.builder(JsonFactory.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(16).build())
          .build())
      .build();

  private final String name;
  private final MemorySegment file;
  private final @Nullable Arena arena;
  private final Map<String, SafetensorsTensor> tensors = new LinkedHashMap<>();

  private SafetensorsFile(String name, MemorySegment file, @Nullable Arena arena) {
    this.name = name;
    this.file = file;
    this.arena = arena;
  }

  /**
   * Maps and parses a file.
   *
   * @throws ModelFileException when it is not a complete safetensors file of tensors that can be read
   * @throws IOException when it cannot be opened
   */
  @SuppressWarnings("MustBeClosedChecker") // the file owns the arena
  public static SafetensorsFile open(Path path) throws IOException {
    Arena arena = Arena.ofShared();
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      MemorySegment bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
      SafetensorsFile file = new SafetensorsFile(String.valueOf(path.getFileName()), bytes, arena);
      file.parse();
      return file;
    } catch (IOException | RuntimeException e) {
      arena.close();
      throw e;
    }
  }

  /**
   * Parses a file that was read into memory.
   *
   * @param name for messages
   */
  public static SafetensorsFile of(String name, byte[] bytes) {
    SafetensorsFile file = new SafetensorsFile(name, MemorySegment.ofArray(bytes), null);
    file.parse();
    return file;
  }

  /** All bytes of the file. */
  public MemorySegment bytes() {
    return file;
  }

  /** All tensors, in the order of the header. */
  public Collection<SafetensorsTensor> tensors() {
    return Collections.unmodifiableCollection(tensors.values());
  }

  /** The tensor of this name, or null. */
  public @Nullable SafetensorsTensor find(String tensor) {
    return tensors.get(tensor);
  }

  /** Unmaps the file; tensors cannot be read any more. */
  @Override
  public void close() {
    if (arena != null) {
      arena.close();
    }
  }

  /** An error that names the file. */
  public ModelFileException error(String what) {
    return new ModelFileException(name + ": " + what);
  }

  private void parse() {
    if (file.byteSize() < 8) {
      throw error("not a safetensors file");
    }
    long length = file.get(LONG, 0);
    if (length < 2 || length > MAX_HEADER) {
      throw error("not a safetensors file: its header would have " + Long.toUnsignedString(length) + " bytes");
    }
    if (length > file.byteSize() - 8) {
      throw error("ends inside its header; it is damaged or not completely downloaded");
    }
    MemorySegment data = file.asSlice(8 + length);
    for (Map.Entry<String, JsonNode> entry : header(length).properties()) {
      if (!entry.getKey().equals("__metadata__")) {
        tensors.put(entry.getKey(), tensor(entry.getKey(), entry.getValue(), data));
      }
    }
    WeightTensor.requireDisjoint(tensors.values(), this::error);
  }

  private JsonNode header(long length) {
    byte[] json = file.asSlice(8, length).toArray(ValueLayout.JAVA_BYTE);
    try {
      JsonNode header = JSON.readTree(json);
      if (!header.isObject()) {
        throw error("its header is not a JSON object");
      }
      return header;
    } catch (JacksonException e) {
      throw error("its header is not JSON: " + e.getOriginalMessage());
    }
  }

  private SafetensorsTensor tensor(String tensor, JsonNode info, MemorySegment data) {
    String typeName = info.path("dtype").asString("");
    SafetensorsType type = Arrays.stream(SafetensorsType.values())
        .filter(t -> t.name().equals(typeName))
        .findFirst()
        .orElseThrow(() -> error("tensor '%s' has element type '%s', which is not supported (%s are)"
            .formatted(tensor, typeName, Arrays.toString(SafetensorsType.values()))));
    JsonNode dimensions = info.path("shape");
    JsonNode offsets = info.path("data_offsets");
    if (!dimensions.isArray() || dimensions.size() > MAX_DIMENSIONS || !offsets.isArray() || offsets.size() != 2) {
      throw error("tensor '" + tensor + "' has no usable shape and offsets");
    }
    long[] shape = new long[dimensions.size()];
    long count = 1;
    long columns = 1;
    for (int d = 0; d < shape.length; d++) {
      shape[d] = number(tensor, dimensions.get(d));
      if (shape[d] < 1 || count > Long.MAX_VALUE / 8 / shape[d]) {
        throw error("tensor '%s' has shape %s".formatted(tensor, dimensions));
      }
      count *= shape[d];
      columns = shape[d];
    }
    long begin = number(tensor, offsets.get(0));
    long end = number(tensor, offsets.get(1));
    if (begin < 0 || end < begin || end - begin != count * type.bytes) {
      throw error("tensor '%s' of type %s and shape %s cannot take bytes %d to %d"
          .formatted(tensor, type, dimensions, begin, end));
    }
    if (end > data.byteSize()) {
      throw error("tensor '%s' reaches past the end of the file; it is damaged or not completely downloaded"
          .formatted(tensor));
    }
    if (columns > Integer.MAX_VALUE || count / columns > Integer.MAX_VALUE) {
      throw error("tensor '%s' has shape %s".formatted(tensor, dimensions));
    }
    return new SafetensorsTensor(
        tensor, type, shape, (int) (count / columns), (int) columns, data.asSlice(begin, end - begin));
  }

  private long number(String tensor, JsonNode node) {
    if (!node.isIntegralNumber() || !node.canConvertToLong()) {
      throw error("tensor '%s' has %s where a whole number belongs".formatted(tensor, node));
    }
    return node.longValue();
  }
}
