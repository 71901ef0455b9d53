package dev.attune.entity;

import java.io.IOException;
import java.util.List;
import org.apache.lucene.store.DataInput;
import org.apache.lucene.store.DataOutput;
import org.apache.lucene.util.fst.FST;
import org.apache.lucene.util.fst.PositiveIntOutputs;
import org.jspecify.annotations.Nullable;

/** A {@link KnowledgeSegment} as bytes: its columns one after the other, each with its length before it. */
final class SegmentFormat {

  private SegmentFormat() {}

  static void write(KnowledgeSegment segment, DataOutput out) throws IOException {
    KnowledgeSegment.Columns c = segment.columns();
    for (StringTable table : List.of(c.ids(), c.labels(), c.descriptions(), c.aliases(), c.nameKeys())) {
      out.writeVInt(table.bytes().length);
      out.writeBytes(table.bytes(), table.bytes().length);
      ints(table.offsets(), out);
    }
    for (int[] column : new int[][] {c.rowOf(), c.idOf(), c.aliasOffsets(), c.neighbourOffsets(), c.neighbours(),
        c.redirects(), c.incomingOffsets(), c.incoming(), c.rowsByNameKey(), segment.candidateOffsets(),
        segment.candidates(), bits(c.priors())}) {
      ints(column, out);
    }
    for (short[] column : List.of(c.types(), c.sources(), c.relations())) {
      shorts(column, out);
    }
    for (String[] names : List.of(c.typeNames(), c.sourceNames(), c.relationNames())) {
      out.writeVInt(names.length);
      for (String name : names) {
        out.writeString(name);
      }
    }
    FST<Long> names = segment.names();
    out.writeByte((byte) (names == null ? 0 : 1));
    if (names != null) {
      names.save(out, out);
    }
  }

  static KnowledgeSegment read(DataInput in) throws IOException {
    StringTable[] tables = new StringTable[5];
    for (int i = 0; i < tables.length; i++) {
      byte[] bytes = new byte[in.readVInt()];
      in.readBytes(bytes, 0, bytes.length);
      tables[i] = new StringTable(bytes, ints(in));
    }
    int[][] ints = new int[12][];
    for (int i = 0; i < ints.length; i++) {
      ints[i] = ints(in);
    }
    short[][] shorts = {shorts(in), shorts(in), shorts(in)};
    String[][] names = new String[3][];
    for (int i = 0; i < names.length; i++) {
      names[i] = new String[in.readVInt()];
      for (int n = 0; n < names[i].length; n++) {
        names[i][n] = in.readString();
      }
    }
    @Nullable FST<Long> automaton = in.readByte() == 0 ? null
        : new FST<>(FST.readMetadata(in, PositiveIntOutputs.getSingleton()), in);
    KnowledgeSegment.Columns columns = new KnowledgeSegment.Columns(
        tables[0], ints[0], ints[1], tables[1], tables[2], names[0], shorts[0], names[1], shorts[1], floats(ints[11]),
        ints[2], tables[3], ints[3], ints[4], names[2], shorts[2], ints[5], ints[6], ints[7], tables[4], ints[8]);
    return new KnowledgeSegment(columns, automaton, ints[9], ints[10]);
  }

  private static void ints(int[] values, DataOutput out) throws IOException {
    out.writeVInt(values.length);
    for (int value : values) {
      out.writeInt(value);
    }
  }

  private static int[] ints(DataInput in) throws IOException {
    int[] values = new int[in.readVInt()];
    in.readInts(values, 0, values.length);
    return values;
  }

  private static void shorts(short[] values, DataOutput out) throws IOException {
    out.writeVInt(values.length);
    for (short value : values) {
      out.writeShort(value);
    }
  }

  private static short[] shorts(DataInput in) throws IOException {
    short[] values = new short[in.readVInt()];
    for (int i = 0; i < values.length; i++) {
      values[i] = in.readShort();
    }
    return values;
  }

  static void longs(long[] values, DataOutput out) throws IOException {
    out.writeVInt(values.length);
    for (long value : values) {
      out.writeLong(value);
    }
  }

  static long[] longs(DataInput in) throws IOException {
    long[] values = new long[in.readVInt()];
    in.readLongs(values, 0, values.length);
    return values;
  }

  private static int[] bits(float[] values) {
    int[] bits = new int[values.length];
    for (int i = 0; i < bits.length; i++) {
      bits[i] = Float.floatToRawIntBits(values[i]);
    }
    return bits;
  }

  private static float[] floats(int[] bits) {
    float[] values = new float[bits.length];
    for (int i = 0; i < values.length; i++) {
      values[i] = Float.intBitsToFloat(bits[i]);
    }
    return values;
  }
}
