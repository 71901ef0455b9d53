package dev.attune.datadir;

import jakarta.validation.constraints.NotNull;
import java.nio.file.Path;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.validation.annotation.Validated;

/**
 * Where the service keeps its data.
 *
 * @param dataDir everything the service writes lies below this directory
 */
@Validated
@ConfigurationProperties("attune")
record DataDirectoryProperties(@DefaultValue("${user.home}/.attune") @NotNull Path dataDir) {}
