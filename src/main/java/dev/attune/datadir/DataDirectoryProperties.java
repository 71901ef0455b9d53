package dev.attune.datadir;

import java.nio.file.Path;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * Where the service keeps its data.
 *
 * @param dataDir everything the service writes lies below this directory
 */
@ConfigurationProperties("attune")
record DataDirectoryProperties(@DefaultValue("${user.home}/.attune") Path dataDir) {}
