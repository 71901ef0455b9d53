package dev.attune.search;

import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import jakarta.validation.constraints.NotNull;
import java.time.Duration;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.validation.annotation.Validated;

/**
 * Settings of the search pipeline.
 *
 * @param budget time for a request that names none; parts that are late are left out
 * @param simulationBudget the same for a simulation and for each of its four parts, generous: documents that nobody has
 *     read yet are read for it alone
 * @param memory entities of the user that the ranker is told of
 * @param documentEntities documents whose entities are kept in memory
 * @param streamTimeout longest life of a streamed answer
 * @param heartbeat how often a streamed answer checks that its client is still there
 */
@Validated
@ConfigurationProperties("attune.search")
record SearchProperties(
    @DefaultValue("2s") @NotNull Duration budget,
    @DefaultValue("30s") @NotNull Duration simulationBudget,
    @DefaultValue("5") @Min(0) @Max(20) int memory,
    @DefaultValue("20000") @Min(100) int documentEntities,
    @DefaultValue("30s") @NotNull Duration streamTimeout,
    @DefaultValue("250ms") @NotNull Duration heartbeat) {}
