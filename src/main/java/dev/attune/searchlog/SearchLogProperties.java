package dev.attune.searchlog;

import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import java.time.Duration;
import org.hibernate.validator.constraints.time.DurationMin;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.validation.annotation.Validated;

/**
 * How search logs are taken in.
 *
 * @param batchSize items stored in one transaction; more is faster, but other writers wait longer
 * @param sessionGap silence that ends a session, for items that name none; changing it affects new items only
 * @param maxTextLength characters kept of a page's text
 * @param actions whether events with an action that is not known are accepted
 * @param maxErrors rejected items that one answer explains; all are counted
 * @param keptErrors rejections that the ingestion view of the administration remembers
 */
@Validated
@ConfigurationProperties("attune.searchlog")
record SearchLogProperties(
    @DefaultValue("500") @Min(1) @Max(10_000) int batchSize,
    @DefaultValue("30m") @DurationMin(seconds = 1) Duration sessionGap,
    @DefaultValue("20000") @Min(100) @Max(1_000_000) int maxTextLength,
    @DefaultValue("lenient") Actions actions,
    @DefaultValue("100") @Min(0) @Max(100_000) int maxErrors,
    @DefaultValue("1000") @Min(0) @Max(1_000_000) int keptErrors) {

  /** Treatment of actions that neither the UBI schema nor its samples name. */
  enum Actions {
    LENIENT,
    STRICT
  }
}
