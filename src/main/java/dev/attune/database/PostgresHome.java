package dev.attune.database;

import dev.attune.datadir.DataDirectory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Where the parts of the embedded server lie.
 *
 * <p>Normally {@code postgres/} in the data directory. A service that runs as root with a data directory below, say,
 * {@code /root} cannot let PostgreSQL's account in without opening a directory that is not its own. It then keeps the
 * cluster in {@code attune.database.system-dir} under a random name, and {@code postgres/location} in the data
 * directory says where. Deleting the data directory therefore always means a fresh start.
 *
 * @param state password, port file and log; only the service reads them
 * @param base holds {@code cluster} and {@code binaries}; the server's account can pass to it
 */
record PostgresHome(Path state, Path base) {

  private static final Logger log = LoggerFactory.getLogger(PostgresHome.class);

  static PostgresHome find(DataDirectory dataDirectory, Path systemDir, ServerAccount account) {
    Path state = dataDirectory.room("postgres");
    try {
      Path location = state.resolve("location");
      if (Files.exists(location)) {
        return new PostgresHome(state, Path.of(Files.readString(location).strip()));
      }
      if (!account.switched()) {
        return new PostgresHome(state, state);
      }
      Set<PosixFilePermission> passable = PosixFilePermissions.fromString("rwx--x--x");
      Files.setPosixFilePermissions(state, passable);
      if (account.canPass(state)) {
        return new PostgresHome(state, state);
      }
      Path base = systemDir.resolve(UUID.randomUUID().toString());
      Files.createDirectories(base);
      Files.setPosixFilePermissions(base, passable);
      if (!account.canPass(base)) {
        throw new DatabaseException(
            ("The service runs as root, and PostgreSQL's account (uid %d) can reach neither %s nor %s. Put"
                + " attune.data-dir where all parent directories can be passed (chmod o+x), or run the service as"
                + " another account.").formatted(account.uid(), state, systemDir));
      }
      Files.writeString(base.resolve("owner"), dataDirectory.root() + "\n");
      Files.writeString(location, base + "\n");
      log.info("PostgreSQL's account cannot pass to {}; the database is kept in {}", dataDirectory.root(), base);
      return new PostgresHome(state, base);
    } catch (IOException e) {
      throw new DatabaseException("The place of the database cannot be prepared: " + e, e);
    }
  }

  Path cluster() {
    return base.resolve("cluster");
  }

  Path binaries() {
    return base.resolve("binaries");
  }
}
