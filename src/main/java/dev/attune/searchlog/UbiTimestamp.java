package dev.attune.searchlog;

import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;
import java.time.temporal.ChronoUnit;
import java.time.temporal.TemporalAccessor;
import java.util.Locale;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;

/**
 * Reads the timestamps that occur in UBI logs: ISO 8601 (with {@code Z}, an offset such as {@code +00:00} or
 * {@code +0000}, or none, which means UTC), and the Unix epoch in milliseconds or seconds, as number or text.
 */
final class UbiTimestamp {

  /** Logs from before the first web search engines are mistakes of a unit or of a clock. */
  static final Instant EARLIEST = Instant.parse("1995-01-01T00:00:00Z");

  /** How far a client's clock may be ahead. */
  static final Duration LEEWAY = Duration.ofDays(1);

  /** As milliseconds this is March 1973, before {@link #EARLIEST}; as seconds it is the year 5138. */
  private static final long SECONDS_BELOW = 100_000_000_000L;

  private static final Pattern NUMBER = Pattern.compile("-?\\d{1,18}(\\.\\d{1,9})?");

  private static final DateTimeFormatter ISO =
      new DateTimeFormatterBuilder()
          .parseCaseInsensitive()
          .append(DateTimeFormatter.ISO_LOCAL_DATE)
          .optionalStart()
          .appendPattern("['T'][' ']")
          .append(DateTimeFormatter.ISO_LOCAL_TIME)
          .optionalStart()
          .appendPattern("[XXX][XX][X]")
          .optionalEnd()
          .optionalEnd()
          .toFormatter(Locale.ROOT);

  private UbiTimestamp() {}

  /**
   * Reads a present timestamp, with the precision of the database (microseconds).
   *
   * @param received when the item reached the service
   * @throws DateTimeException with the reason as message, which begins with the field name
   */
  static Instant parse(JsonNode node, Instant received) {
    Instant instant = read(node).truncatedTo(ChronoUnit.MICROS);
    if (instant.isBefore(EARLIEST)) {
      throw new DateTimeException("timestamp: before 1995; use ISO 8601 or epoch milliseconds");
    }
    if (instant.isAfter(received.plus(LEEWAY))) {
      throw new DateTimeException("timestamp: more than a day in the future; use ISO 8601 or epoch milliseconds");
    }
    return instant;
  }

  private static Instant read(JsonNode node) {
    if (node.isIntegralNumber() && node.canConvertToLong()) {
      return epoch(node.longValue());
    }
    if (node.isNumber()) {
      return epoch(node.asDouble(Double.NaN));
    }
    if (!node.isString()) {
      throw new DateTimeException("timestamp: must be an ISO 8601 text or epoch milliseconds");
    }
    String text = node.stringValue().strip();
    if (NUMBER.matcher(text).matches()) {
      return text.indexOf('.') < 0 ? epoch(Long.parseLong(text)) : epoch(Double.parseDouble(text));
    }
    try {
      TemporalAccessor parsed =
          ISO.parseBest(text, OffsetDateTime::from, LocalDateTime::from, LocalDate::from);
      return switch (parsed) {
        case OffsetDateTime time -> time.toInstant();
        case LocalDateTime time -> time.toInstant(ZoneOffset.UTC);
        default -> ((LocalDate) parsed).atStartOfDay().toInstant(ZoneOffset.UTC);
      };
    } catch (DateTimeException e) {
      throw new DateTimeException("timestamp: not a date and time of ISO 8601, nor epoch milliseconds", e);
    }
  }

  private static Instant epoch(long value) {
    boolean seconds = -SECONDS_BELOW < value && value < SECONDS_BELOW;
    return seconds ? Instant.ofEpochSecond(value) : Instant.ofEpochMilli(value);
  }

  private static Instant epoch(double value) {
    double millis = Math.abs(value) < SECONDS_BELOW ? value * 1000 : value;
    if (!(Math.abs(millis) < 1e17)) {
      throw new DateTimeException("timestamp: number out of range; use epoch milliseconds");
    }
    return Instant.ofEpochMilli(Math.round(millis));
  }
}
