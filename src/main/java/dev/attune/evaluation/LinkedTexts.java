package dev.attune.evaluation;

import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPInputStream;
import javax.xml.stream.XMLInputFactory;
import javax.xml.stream.XMLStreamConstants;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamReader;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Texts whose entities people have marked: queries of GERDAQ (Cornolti et al., WWW 2016) and what users say in ConEL-22
 * (Joko and Hasibi, CIKM 2022).
 */
final class LinkedTexts {

  static final List<String> NAMES =
      List.of("gerdaq-devel", "gerdaq-trainA", "gerdaq-trainB", "conel-val", "conel-train");

  private static final JsonMapper MAPPER = JsonMapper.builder().build();

  private LinkedTexts() {}

  /** A text and the entities in it. */
  record LinkedText(String text, List<Gold> gold) {}

  /**
   * A marked entity.
   *
   * @param title of its page in the English Wikipedia, with spaces
   */
  record Gold(int start, int end, String title) {}

  /**
   * Reads a collection.
   *
   * @param directory with the files as they are published, in gzip
   * @throws IllegalArgumentException when there is none with this name
   */
  static List<LinkedText> read(Path directory, String name) {
    Path file = directory.resolve(file(name));
    try {
      return name.startsWith("gerdaq") ? gerdaq(file) : conel(file);
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + file, e);
    }
  }

  /** The file that {@link #read} reads. */
  static String file(String name) {
    return switch (name) {
      case "gerdaq-devel" -> "gerdaq_devel.xml.gz";
      case "gerdaq-trainA" -> "gerdaq_trainingA.xml.gz";
      case "gerdaq-trainB" -> "gerdaq_trainingB.xml.gz";
      case "conel-val" -> "ConEL22_EL_Val.json.gz";
      case "conel-train" -> "ConEL22_EL_Train.json.gz";
      default -> throw new IllegalArgumentException(
          "There are no linked texts '" + name + "'; there are " + String.join(", ", NAMES));
    };
  }

  /**
   * Wikidata ids by Wikipedia title, of {@code entity2wikidata.json.gz}: what the bundled knowledge base is made from.
   */
  static Map<String, String> wikidataIds(Path file) {
    Map<String, String> ids = new HashMap<>();
    try (Reader in = open(file)) {
      for (JsonNode entity : MAPPER.readTree(in)) {
        String page = entity.path("wikipedia").asString("");
        int name = page.indexOf("/wiki/");
        if (name >= 0) {
          String title = page.substring(name + "/wiki/".length()).replace("+", "%2B");
          ids.put(
              URLDecoder.decode(title, StandardCharsets.UTF_8).replace('_', ' '),
              entity.path("wikidata_id").asString());
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("Cannot read " + file, e);
    }
    return ids;
  }

  private static List<LinkedText> conel(Path file) throws IOException {
    List<LinkedText> texts = new ArrayList<>();
    try (Reader in = open(file)) {
      for (JsonNode dialogue : MAPPER.readTree(in)) {
        for (JsonNode turn : dialogue.path("turns")) {
          if (turn.path("speaker").asString().equals("USER") && turn.has("el_annotations")) {
            String text = turn.path("utterance").asString();
            List<Gold> gold = new ArrayList<>();
            for (JsonNode annotation : turn.path("el_annotations")) {
              JsonNode span = annotation.path("span");
              gold.add(new Gold(
                  unit(text, span.path(0).asInt()),
                  unit(text, span.path(1).asInt()),
                  annotation.path("entity").asString().replace('_', ' ')));
            }
            texts.add(new LinkedText(text, gold));
          }
        }
      }
    }
    return texts;
  }

  /** Offset in UTF-16 units of one in code points. */
  private static int unit(String text, int codePoint) {
    return text.offsetByCodePoints(0, Math.min(codePoint, text.codePointCount(0, text.length())));
  }

  private static List<LinkedText> gerdaq(Path file) throws IOException {
    XMLInputFactory factory = XMLInputFactory.newFactory();
    factory.setProperty(XMLInputFactory.SUPPORT_DTD, false);
    factory.setProperty(XMLInputFactory.IS_SUPPORTING_EXTERNAL_ENTITIES, false);
    List<LinkedText> texts = new ArrayList<>();
    try (Reader in = open(file)) {
      XMLStreamReader xml = factory.createXMLStreamReader(in);
      StringBuilder text = new StringBuilder();
      List<Gold> gold = new ArrayList<>();
      @Nullable String title = null;
      int start = 0;
      while (xml.hasNext()) {
        switch (xml.next()) {
          case XMLStreamConstants.START_ELEMENT -> {
            if (xml.getLocalName().equals("instance")) {
              text.setLength(0);
              gold = new ArrayList<>();
            } else if (xml.getLocalName().equals("annotation")) {
              title = xml.getAttributeValue(null, "rank_0_title");
              start = text.length();
            }
          }
          case XMLStreamConstants.CHARACTERS -> text.append(xml.getText());
          case XMLStreamConstants.END_ELEMENT -> {
            if (xml.getLocalName().equals("instance")) {
              texts.add(new LinkedText(text.toString(), List.copyOf(gold)));
            } else if (xml.getLocalName().equals("annotation") && title != null) {
              gold.add(new Gold(start, text.length(), title));
            }
          }
          default -> {
            // Nothing else is of interest.
          }
        }
      }
      return texts;
    } catch (XMLStreamException e) {
      throw new IOException(e);
    }
  }

  private static Reader open(Path file) throws IOException {
    InputStream in = Files.newInputStream(file);
    return new InputStreamReader(new GZIPInputStream(in), StandardCharsets.UTF_8);
  }
}
