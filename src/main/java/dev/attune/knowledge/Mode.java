package dev.attune.knowledge;

import com.fasterxml.jackson.annotation.JsonProperty;

/** How an entity stands to a user (K-LaMP, arXiv 2311.06318, §3); lower case in JSON. */
public enum Mode {
  /** Seen often or recently. */
  @JsonProperty("familiar")
  FAMILIAR,
  /** Not or hardly seen by the user, but close to what they look at. */
  @JsonProperty("unfamiliar")
  UNFAMILIAR,
  /** Seen before, but not for 14 days. */
  @JsonProperty("lapsed")
  LAPSED
}
