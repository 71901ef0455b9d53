package dev.attune.datadir;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Keeps a second service off the data directory. The operating system releases the lock when the process dies. */
final class DataDirectoryLock implements AutoCloseable {

  private final FileChannel channel;

  DataDirectoryLock(Path root) {
    Path file = root.resolve("lock");
    try {
      channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
    } catch (IOException e) {
      throw new DataDirectoryException("The data directory " + root + " cannot be written to: " + e, e);
    }
    try {
      if (!tryLock()) {
        throw new DataDirectoryException(
            "The data directory " + root + " is in use by another Attune" + holder(file) + ".", null);
      }
      channel.truncate(0);
      channel.write(ByteBuffer.wrap(Long.toString(ProcessHandle.current().pid()).getBytes(StandardCharsets.UTF_8)));
    } catch (IOException e) {
      throw new DataDirectoryException("The data directory " + root + " cannot be locked: " + e, e);
    }
  }

  private boolean tryLock() throws IOException {
    try {
      FileLock lock = channel.tryLock();
      if (lock != null) {
        return true;
      }
    } catch (OverlappingFileLockException e) {
      // This very process holds it through another context.
    }
    channel.close();
    return false;
  }

  private static String holder(Path file) {
    try {
      String pid = Files.readString(file).strip();
      return pid.isEmpty() ? "" : " (process " + pid + ")";
    } catch (IOException e) {
      return "";
    }
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
