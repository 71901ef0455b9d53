package dev.attune.knowledge;

import java.time.Instant;
import java.util.Map;
import java.util.UUID;

/**
 * Proof of an erasure. It does not say who was erased.
 *
 * @param counts deleted rows by kind
 * @param remaining rows found afterwards that still name the user; 0
 */
public record ErasureReceipt(UUID receiptId, Instant erasedAt, Map<String, Long> counts, long remaining) {

  public ErasureReceipt {
    counts = Map.copyOf(counts);
  }
}
