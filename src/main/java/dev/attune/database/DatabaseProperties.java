package dev.attune.database;

import java.nio.file.Path;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * The embedded PostgreSQL; has no effect when {@code spring.datasource.url} is set.
 *
 * @param startTimeout how long the server may take to accept connections, recovery after a crash included
 * @param stopTimeout how long a fast shutdown may take before the server is killed
 * @param binariesDir where the server's programs are unpacked; null for {@code postgres/binaries} in the data
 *     directory
 * @param systemDir where the cluster goes when the service runs as root and the data directory lies below a directory
 *     that PostgreSQL's account cannot pass, such as {@code /root}
 */
@ConfigurationProperties("attune.database")
record DatabaseProperties(
    @DefaultValue("60s") Duration startTimeout,
    @DefaultValue("30s") Duration stopTimeout,
    @Nullable Path binariesDir,
    @DefaultValue("/var/lib/attune") Path systemDir) {}
