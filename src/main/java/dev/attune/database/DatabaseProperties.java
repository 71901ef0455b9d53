package dev.attune.database;

import jakarta.validation.constraints.NotNull;
import java.nio.file.Path;
import java.time.Duration;
import org.hibernate.validator.constraints.time.DurationMin;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.validation.annotation.Validated;

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
@Validated
@ConfigurationProperties("attune.database")
record DatabaseProperties(
    @DefaultValue("60s") @NotNull @DurationMin(millis = 1) Duration startTimeout,
    @DefaultValue("30s") @NotNull @DurationMin(millis = 1) Duration stopTimeout,
    @Nullable Path binariesDir,
    @DefaultValue("/var/lib/attune") @NotNull Path systemDir) {}
