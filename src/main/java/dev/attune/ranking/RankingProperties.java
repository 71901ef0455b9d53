package dev.attune.ranking;

import dev.attune.llm.kv.KvCodec;
import jakarta.validation.constraints.DecimalMax;
import jakarta.validation.constraints.DecimalMin;
import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import jakarta.validation.constraints.NotBlank;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.util.unit.DataSize;
import org.springframework.validation.annotation.Validated;

/**
 * Settings of in-context ranking.
 *
 * @param prompt where the query stands; only {@code documents-once} lets documents be read once for all queries
 * @param signals which tokens of the last block give the score with their attention
 * @param layer the layer whose attention is the score, counted from 0; layers from it on are not run
 * @param scoreTransform what is done to the attention before it is a score; {@code none} unless a collection shows that
 *     another is better
 * @param documentTokens longest document block, frame included; longer documents are cut at a word boundary
 * @param keptTokens share of a document's tokens whose keys and values are kept once it is read: its last one, those of
 *     the title, and rare words
 * @param documentCodec {@code f32}, {@code fp16}, {@code bf16} or {@code int8}: how keys and values of documents are
 *     kept; the codec of {@code attune.llm.kv-policy} when not set
 * @param queryTokens longest query; longer ones are cut
 * @param memoryTokens most tokens of the user's memory in the last block; lines that do not fit are left out
 * @param lastPosition RoPE position of the last block, beyond every document
 * @param budget time a request may take for reading and ranking unless it names its own
 * @param batch documents read in one call of the backend, or as many as it reads in 50 ms if those are more
 * @param residentSize bytes of document keys and values kept in memory of the service, which are those not on disk; the
 *     least recently used go first. On a GPU four fifths of its memory for them and of
 *     {@code attune.llm.gpu-host-memory} instead
 * @param storeSize bytes of document keys and values kept on disk, in the data directory; what was used least goes
 *     first, 0 keeps nothing on disk. On a GPU nothing goes for another document, which is kept on the GPU alone
 * @param listSize most bytes of document keys and values in one list; candidates beyond it are not read
 * @param warm which documents are read in the background while no request runs
 * @param warmField numeric document field that orders documents nobody has searched for yet, highest first
 * @param blockrankWeight weight of BlockRank beside retrieval, whose weight is 1; 0 switches it off. The default was
 *     chosen for the ranking adapter of the default model ({@code training/sweep.py}); a model without one wants 0.1 or
 *     less
 * @param affinityWeight weight of the user's affinity beside retrieval; bounds what personalization can move
 */
@Validated
@ConfigurationProperties("attune.ranking")
record RankingProperties(
    @DefaultValue("documents-once") Prompt prompt,
    @DefaultValue("query") Signals signals,
    @DefaultValue("18") @Min(1) int layer,
    @DefaultValue("none") ScoreTransform scoreTransform,
    @DefaultValue("160") @Min(32) @Max(1024) int documentTokens,
    @DefaultValue("1") @DecimalMin("0.01") @DecimalMax("1") double keptTokens,
    @Nullable KvCodec documentCodec,
    @DefaultValue("96") @Min(8) @Max(512) int queryTokens,
    @DefaultValue("96") @Min(0) @Max(512) int memoryTokens,
    @DefaultValue("2048") @Min(1280) int lastPosition,
    @DefaultValue("300ms") Duration budget,
    @DefaultValue("8") @Min(1) @Max(64) int batch,
    @DefaultValue("1GB") DataSize residentSize,
    @DefaultValue("2GB") DataSize storeSize,
    @DefaultValue("1GB") DataSize listSize,
    @DefaultValue("popular") Warm warm,
    @DefaultValue("popularity") @NotBlank String warmField,
    @DefaultValue("0.55") @DecimalMin("0") @DecimalMax("100") double blockrankWeight,
    @DefaultValue("0.2") @DecimalMin("0") @DecimalMax("100") double affinityWeight) {

  /** Where the query stands in the prompt. */
  enum Prompt {
    /** Only in the last block: what is computed for a document holds for every query. */
    DOCUMENTS_ONCE,
    /** In the instruction block too, as in the paper: documents are read anew for every query. */
    QUERY_IN_PREFIX
  }

  /** Which tokens of the last block give the score with their attention. */
  enum Signals {
    /** Every token of the query: what a model that was not trained for ranking needs. */
    QUERY,
    /** The query's last token and the last {@code [}, as in the paper: for a model trained with them. */
    QUERY_END_AND_ANSWER
  }

  /** Which documents to read in the background. */
  enum Warm {
    NONE,
    /** Those that searches found most often, then those highest in {@code warm-field}. */
    POPULAR,
    /** Popular ones first, then every other document that fits. */
    ALL
  }
}
