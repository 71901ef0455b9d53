package dev.attune.entity;

import dev.attune.retrieval.Document;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Reads entities from document fields. The id of an entity depends on its type and name only, so that the same person
 * in two documents is one entity; the document's own entity is told apart by the document's id.
 */
final class DocumentFieldReader {

  private static final String TITLE = "title";
  private static final String CHARACTER = "character";
  private static final int MAX_LABEL = 120;
  private static final int MAX_VALUES = 200;
  private static final int MAX_DESCRIPTION = 160;

  private static final Pattern ASIDE = Pattern.compile("\\([^)]*\\)?|\\[[^]]*]?");
  private static final Pattern NICKNAME = Pattern.compile("[\"“”]");
  private static final Pattern ALTERNATIVE = Pattern.compile("\\s*/\\s*");
  /** Parts that are played, but that are nobody in particular. */
  private static final Pattern NOBODY = Pattern.compile(
      "(?i)(him|her|them|it)?sel(f|ves)( .*)?|narrator|various|additional voices?|voices?"
          + "|.*#.*|.*\\d.*|.*\\bvoice\\b.*");

  private final EntityProperties properties;
  private final CommonWords words;

  DocumentFieldReader(EntityProperties properties, CommonWords words) {
    this.properties = properties;
    this.words = words;
  }

  List<DocumentEntity> read(Document document) {
    Map<String, DocumentEntity> rows = new LinkedHashMap<>();
    String titleType = properties.documentFields().get(TITLE);
    String titleKey = TextTokens.nameKey(document.title());
    if (titleType != null && !titleKey.isEmpty()) {
      String id = mainId(titleType, document.id());
      rows.put(id, new DocumentEntity(document.id(), 0, id, true, TITLE, titleType, cut(document.title().strip(),
          MAX_LABEL), titleKey, description(document), popularity(document)));
    }
    properties.documentFields().forEach((field, type) -> {
      if (field.equals(TITLE)) {
        return;
      }
      for (String value : values(document.fields().get(field))) {
        for (String label : type.equals(CHARACTER) ? characters(value) : List.of(value.strip())) {
          String key = TextTokens.nameKey(label);
          if (!key.isEmpty() && label.length() <= MAX_LABEL && rows.size() < MAX_VALUES) {
            String id = type + ":" + key.replace(' ', '-');
            rows.putIfAbsent(id, new DocumentEntity(
                document.id(), rows.size() + 1, id, false, field, type, label, key, null, null));
          }
        }
      }
    });
    return List.copyOf(rows.values());
  }

  /** Id of a document's own entity; safe in a URL path, different for different documents. */
  static String mainId(String type, String documentId) {
    StringBuilder id = new StringBuilder(type).append(':');
    for (byte b : documentId.getBytes(StandardCharsets.UTF_8)) {
      char c = (char) (b & 0xff);
      if (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
          || c == ':' || c == '~') {
        id.append(c);
      } else {
        id.append(String.format(Locale.ROOT, "=%02X", (int) c));
      }
    }
    return id.toString();
  }

  /** The names in a cast list entry such as {@code Hawkman / Carter Hall (uncredited)}. */
  private List<String> characters(String entry) {
    List<String> names = new ArrayList<>();
    for (String part : ALTERNATIVE.split(ASIDE.matcher(entry).replaceAll(" "))) {
      String name = NICKNAME.matcher(part).replaceAll("").replaceAll("\\s+", " ").strip();
      if (name.length() > 2 && !NOBODY.matcher(name).matches() && telling(name)) {
        names.add(name);
      }
    }
    return names;
  }

  /** Not "Wizard", "Police Officer" or a given name alone, which name a different part in every film. */
  private boolean telling(String name) {
    TextTokens tokens = TextTokens.of(name);
    boolean rare = false;
    for (int i = 0; i < tokens.size(); i++) {
      rare |= words.rarity(tokens.term(i)) >= 1;
    }
    return tokens.size() > 0 && rare
        || tokens.size() >= 2 && Linkability.information(tokens.joined(' '), words) >= 1.2;
  }

  private @Nullable String description(Document document) {
    List<String> parts = new ArrayList<>();
    for (String field : properties.descriptionFields()) {
      parts.addAll(values(document.fields().get(field)));
    }
    return parts.isEmpty() ? null : cut(String.join(", ", parts), MAX_DESCRIPTION);
  }

  private @Nullable Double popularity(Document document) {
    return document.fields().get(properties.popularityField()) instanceof Number number ? number.doubleValue() : null;
  }

  private static List<String> values(@Nullable Object value) {
    return switch (value) {
      case null -> List.of();
      case String text -> List.of(text);
      case List<?> list -> list.stream().map(String::valueOf).toList();
      default -> List.of(value.toString());
    };
  }

  private static String cut(String text, int length) {
    return text.length() <= length ? text : text.substring(0, length);
  }

  /** Types of the entities that documents can give. */
  Set<String> types() {
    return Set.copyOf(properties.documentFields().values());
  }
}
