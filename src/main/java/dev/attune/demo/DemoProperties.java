package dev.attune.demo;

import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.validation.annotation.Validated;

/**
 * The demo data.
 *
 * @param enabled load the bundled knowledge base, films and simulated users at the first start, if nothing else is in
 *     the store
 * @param batchSize films that are indexed together
 */
@ConfigurationProperties("attune.demo")
@Validated
record DemoProperties(
    @DefaultValue("true") boolean enabled, @DefaultValue("500") @Min(1) @Max(10_000) int batchSize) {}
