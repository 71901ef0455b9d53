package dev.attune.searchlog;

import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ObjectNode;

/** Writing of UBI items. */
final class UbiFields {

  private UbiFields() {}

  /** Sets a field unless the value is missing. */
  static void put(ObjectNode node, String name, @Nullable String value) {
    if (value != null) {
      node.put(name, value);
    }
  }
}
