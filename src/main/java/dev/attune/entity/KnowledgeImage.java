package dev.attune.entity;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.apache.lucene.codecs.CodecUtil;
import org.apache.lucene.index.CorruptIndexException;
import org.apache.lucene.store.Directory;
import org.apache.lucene.store.FSDirectory;
import org.apache.lucene.store.IOContext;
import org.apache.lucene.store.IndexInput;
import org.apache.lucene.store.IndexOutput;
import org.apache.lucene.util.FixedBitSet;
import org.apache.lucene.util.StringHelper;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A file with a {@link KnowledgeSnapshot} as it is in memory, so that a start need not build it from the database. It
 * names the revision of the database that it shows; one of another revision, of another format, or a damaged one is
 * not used.
 */
final class KnowledgeImage {

  private static final Logger log = LoggerFactory.getLogger(KnowledgeImage.class);
  private static final String CODEC = "AttuneKnowledge";
  private static final String FILE = "knowledge.image";
  private static final String PARTIAL = "knowledge.image.part";

  /** To be raised when the same rows of the database give other segments: other columns, other keys of names. */
  private static final int FORMAT = 2;

  private final Path directory;
  private final SegmentBuilder builder;

  KnowledgeImage(Path directory, SegmentBuilder builder) {
    this.directory = directory;
    this.builder = builder;
  }

  /** The snapshot of a revision, if the file holds it. */
  Optional<KnowledgeSnapshot> read(UUID revision) {
    if (!Files.exists(directory.resolve(FILE))) {
      return Optional.empty();
    }
    try (Directory files = FSDirectory.open(directory);
        IndexInput in = files.openInput(FILE, IOContext.READONCE)) {
      // First of all: a damaged length must not ask for all memory.
      CodecUtil.checksumEntireFile(in);
      CodecUtil.checkHeader(in, CODEC, FORMAT, FORMAT);
      byte[] id = new byte[StringHelper.ID_LENGTH];
      in.readBytes(id, 0, id.length);
      if (!uuid(id).equals(revision) || in.readLong() != builder.fingerprint()) {
        return Optional.empty();
      }
      Map<String, Optional<String>> overrides = new HashMap<>();
      for (int left = in.readVInt(); left > 0; left--) {
        overrides.put(in.readString(), Optional.ofNullable(in.readByte() == 0 ? null : in.readString()));
      }
      List<KnowledgeSnapshot.Part> parts = new ArrayList<>();
      for (int left = in.readVInt(); left > 0; left--) {
        KnowledgeSegment segment = SegmentFormat.read(in);
        parts.add(new KnowledgeSnapshot.Part(segment, bits(SegmentFormat.longs(in), segment.size())));
      }
      return Optional.of(KnowledgeSnapshot.of(parts, overrides, builder));
    } catch (IOException | RuntimeException e) {
      log.warn("The image of the knowledge base cannot be used and is made again: {}", e.toString());
      return Optional.empty();
    }
  }

  /** Replaces the file; the old one stays until the new one is on disk. */
  void write(UUID revision, KnowledgeSnapshot snapshot) throws IOException {
    Files.deleteIfExists(directory.resolve(PARTIAL));
    try (Directory files = FSDirectory.open(directory)) {
      try (IndexOutput out = files.createOutput(PARTIAL, IOContext.DEFAULT)) {
        CodecUtil.writeHeader(out, CODEC, FORMAT);
        byte[] id = bytes(revision);
        out.writeBytes(id, id.length);
        out.writeLong(builder.fingerprint());
        out.writeVInt(snapshot.overrides().size());
        for (Map.Entry<String, Optional<String>> override : snapshot.overrides().entrySet()) {
          out.writeString(override.getKey());
          out.writeByte((byte) (override.getValue().isPresent() ? 1 : 0));
          if (override.getValue().isPresent()) {
            out.writeString(override.getValue().get());
          }
        }
        out.writeVInt(snapshot.parts().size());
        for (KnowledgeSnapshot.Part part : snapshot.parts()) {
          SegmentFormat.write(part.segment(), out);
          FixedBitSet dead = part.dead();
          SegmentFormat.longs(dead == null ? new long[0] : dead.getBits(), out);
        }
        CodecUtil.writeFooter(out);
      }
      files.sync(List.of(PARTIAL));
      Files.move(
          directory.resolve(PARTIAL),
          directory.resolve(FILE),
          StandardCopyOption.ATOMIC_MOVE,
          StandardCopyOption.REPLACE_EXISTING);
      files.syncMetaData();
    }
  }

  private static @Nullable FixedBitSet bits(long[] words, int size) throws CorruptIndexException {
    if (words.length == 0) {
      return null;
    }
    if (words.length < FixedBitSet.bits2words(size)) {
      throw new CorruptIndexException("too few bits of replaced rows", CODEC);
    }
    return new FixedBitSet(words, size);
  }

  private static byte[] bytes(UUID id) {
    byte[] bytes = new byte[StringHelper.ID_LENGTH];
    ByteBuffer.wrap(bytes).putLong(id.getMostSignificantBits()).putLong(id.getLeastSignificantBits());
    return bytes;
  }

  private static UUID uuid(byte[] bytes) {
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    return new UUID(buffer.getLong(), buffer.getLong());
  }
}
