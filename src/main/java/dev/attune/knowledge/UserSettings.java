package dev.attune.knowledge;

import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What a user allows.
 *
 * @param personalization false: search and suggestions ignore the store
 * @param learning false: new activity is logged but not learned
 * @param retentionDays older evidence is forgotten; null for the service's default
 * @param sensitive sensitive entity types that may be learned
 */
public record UserSettings(
    boolean personalization, boolean learning, @Nullable Integer retentionDays, Set<String> sensitive) {

  public static final UserSettings DEFAULT = new UserSettings(true, true, null, Set.of());

  public UserSettings {
    sensitive = Set.copyOf(sensitive);
  }
}
