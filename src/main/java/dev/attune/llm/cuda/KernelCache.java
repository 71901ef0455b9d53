package dev.attune.llm.cuda;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import org.apache.commons.codec.digest.DigestUtils;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Machine code of kernels on disk: compiling takes seconds a kernel, and nobody should wait for it at each start. A
 * file is named by a hash of all that its code was made of, and begins with a hash of the code. One that is damaged
 * counts as missing; where nothing can be written, kernels are compiled at each start. Thread-safe, also between
 * processes.
 */
final class KernelCache {

  private static final Logger log = LoggerFactory.getLogger(KernelCache.class);
  private static final int HASH_BYTES = 32;

  private final Path directory;

  KernelCache(Path directory) {
    this.directory = directory;
  }

  Optional<byte[]> find(List<String> madeOf) {
    try {
      byte[] content = Files.readAllBytes(file(madeOf));
      byte[] code = content.length > HASH_BYTES ? Arrays.copyOfRange(content, HASH_BYTES, content.length) : new byte[0];
      if (code.length > 0 && Arrays.equals(DigestUtils.sha256(code), 0, HASH_BYTES, content, 0, HASH_BYTES)) {
        return Optional.of(code);
      }
    } catch (IOException e) {
      // Not there, or not to be read: it is compiled.
    }
    return Optional.empty();
  }

  void keep(List<String> madeOf, byte[] code) {
    try {
      Files.createDirectories(directory);
      Path partial = Files.createTempFile(directory, "kernel", ".part");
      try {
        byte[] content = Arrays.copyOf(DigestUtils.sha256(code), HASH_BYTES + code.length);
        System.arraycopy(code, 0, content, HASH_BYTES, code.length);
        Files.write(partial, content);
        Files.move(partial, file(madeOf), StandardCopyOption.ATOMIC_MOVE);
      } finally {
        Files.deleteIfExists(partial);
      }
    } catch (IOException e) {
      log.warn("Compiled kernels cannot be kept in {} and will be compiled at the next start: {}", directory,
          e.toString());
    }
  }

  private Path file(List<String> madeOf) {
    MessageDigest hash = DigestUtils.getSha256Digest();
    for (String part : madeOf) {
      byte[] bytes = part.getBytes(StandardCharsets.UTF_8);
      hash.update((bytes.length + ":").getBytes(StandardCharsets.UTF_8));
      hash.update(bytes);
    }
    return directory.resolve(HexFormat.of().formatHex(hash.digest()) + ".cubin");
  }
}
