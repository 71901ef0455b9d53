package dev.attune.web;

import jakarta.validation.constraints.NotNull;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.util.unit.DataSize;
import org.springframework.validation.annotation.Validated;

/**
 * Limits on request bodies; a longer body is answered with 413.
 *
 * @param maxBody longest body of an ordinary request
 * @param maxBulkBody longest body of a bulk request (documents, events, knowledge base), which is streamed
 * @param maxItem longest single item of a bulk request; a longer one is rejected alone
 */
@ConfigurationProperties("attune.web")
@Validated
record WebProperties(
    @DefaultValue("1MB") @NotNull DataSize maxBody,
    @DefaultValue("64GB") @NotNull DataSize maxBulkBody,
    @DefaultValue("4MB") @NotNull DataSize maxItem) {}
