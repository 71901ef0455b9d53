package dev.attune.evaluation;

import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.zip.CRC32;

/** Parts of a collection, by a hash of the query id: 80 % train, 10 % validation, 10 % that is never written. */
enum Split {
  TRAIN,
  VALIDATION,
  /** All queries: for a collection that no part of training sees. */
  WHOLE;

  boolean holds(String queryId) {
    int tenth = tenth(queryId);
    return switch (this) {
      case TRAIN -> tenth < 8;
      case VALIDATION -> tenth == 8;
      case WHOLE -> true;
    };
  }

  /** @throws IllegalArgumentException naming those that there are */
  static Split named(String name) {
    return switch (name.toLowerCase(Locale.ROOT)) {
      case "train" -> TRAIN;
      case "validation" -> VALIDATION;
      case "whole" -> WHOLE;
      default -> throw new IllegalArgumentException("--split must be train, validation or whole, not '" + name + "'");
    };
  }

  private static int tenth(String queryId) {
    CRC32 checksum = new CRC32();
    checksum.update(queryId.getBytes(StandardCharsets.UTF_8));
    return (int) (checksum.getValue() % 10);
  }
}
