package dev.attune.security;

import jakarta.validation.Valid;
import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import jakarta.validation.constraints.NotNull;
import java.util.List;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.validation.annotation.Validated;

/**
 * Who may do what.
 *
 * @param mode {@code local}: no login, loopback interface only; {@code oidc}: bearer tokens
 * @param trustedNetwork local mode only: allows an address other than loopback, for a container whose port is
 *     published on loopback only; everybody who can reach the port can do everything
 * @param allowedHosts host names (no ports) under which browsers may address the service in local mode; others are
 *     refused, so that no web site can reach it by DNS rebinding
 * @param imageSources origins that pages may load images from, besides the service itself
 * @param rateLimit how often the API may be called
 */
@ConfigurationProperties("attune.security")
@Validated
record SecurityProperties(
    @DefaultValue("local") @NotNull Mode mode,
    @DefaultValue("false") boolean trustedNetwork,
    @DefaultValue({"localhost", "127.0.0.1", "[::1]"}) @NotNull List<String> allowedHosts,
    @DefaultValue("https://image.tmdb.org") @NotNull List<String> imageSources,
    @DefaultValue @Valid @NotNull RateLimit rateLimit) {

  /**
   * Requests of one principal, or of one client address in local mode.
   *
   * @param perSecond that may go on for ever; 0 for no limit
   * @param burst that may come at once after a pause
   * @param principals most that are remembered
   */
  record RateLimit(
      @DefaultValue("100") @Min(0) @Max(1_000_000) int perSecond,
      @DefaultValue("1000") @Min(1) @Max(10_000_000) int burst,
      @DefaultValue("10000") @Min(1) @Max(10_000_000) int principals) {}

  enum Mode {
    LOCAL,
    OIDC
  }
}
