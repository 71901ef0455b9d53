package dev.attune.retrieval;

import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.validation.annotation.Validated;

/**
 * Settings of the document index.
 *
 * @param embed when vectors are computed: {@code background}, {@code inline} or {@code none}
 * @param embedThreads threads of one embedding call. One is enough for a query, and leaves the other cores to requests
 *     while the vectors of documents are computed
 * @param batchSize documents of one request that are committed together
 */
@ConfigurationProperties("attune.retrieval")
@Validated
record RetrievalProperties(
    @DefaultValue("background") EmbedMode embed,
    @DefaultValue("1") @Min(1) @Max(256) int embedThreads,
    @DefaultValue("1000") @Min(1) @Max(100_000) int batchSize) {}
