package dev.attune.llm;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import tools.jackson.databind.json.JsonMapper;

/** Writes safetensors files in f32, right or deliberately wrong. */
public final class SafetensorsBytes {

  /** What the header says of each tensor; may be changed before {@link #bytes}. */
  public final Map<String, Map<String, Object>> header = new LinkedHashMap<>();

  private final ByteArrayOutputStream data = new ByteArrayOutputStream();

  public SafetensorsBytes add(String name, float[] values, int... shape) {
    ByteBuffer numbers = ByteBuffer.allocate(values.length * 4).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      numbers.putFloat(value);
    }
    Map<String, Object> info = new LinkedHashMap<>();
    info.put("dtype", "F32");
    info.put("shape", Arrays.stream(shape).boxed().toList());
    info.put("data_offsets", List.of(data.size(), data.size() + numbers.capacity()));
    header.put(name, info);
    data.writeBytes(numbers.array());
    return this;
  }

  public SafetensorsBytes random(String name, Random random, double scale, int rows, int columns) {
    float[] values = new float[rows * columns];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (random.nextGaussian() * scale);
    }
    return add(name, values, rows, columns);
  }

  public byte[] bytes() {
    return bytes(JsonMapper.shared().writeValueAsBytes(header));
  }

  /** The data behind this header. */
  public byte[] bytes(byte[] json) {
    return ByteBuffer.allocate(8 + json.length + data.size())
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(json.length)
        .put(json)
        .put(data.toByteArray())
        .array();
  }
}
