package dev.attune.knowledge;

/** How an entity stands to a user (K-LaMP, arXiv 2311.06318, §3). */
public enum Mode {
  /** Seen often or recently. */
  FAMILIAR,
  /** Not or hardly seen by the user, but close to what they look at. */
  UNFAMILIAR,
  /** Seen before, but not for 14 days. */
  LAPSED
}
