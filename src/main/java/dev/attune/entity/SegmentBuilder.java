package dev.attune.entity;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.ObjIntConsumer;
import org.apache.lucene.util.BytesRef;
import org.apache.lucene.util.IntsRefBuilder;
import org.apache.lucene.util.fst.FST;
import org.apache.lucene.util.fst.FSTCompiler;
import org.apache.lucene.util.fst.PositiveIntOutputs;
import org.apache.lucene.util.fst.Util;
import org.jspecify.annotations.Nullable;

/** Makes a {@link KnowledgeSegment} of rows. */
final class SegmentBuilder {

  /** A name that means more things than this says nothing. */
  private static final int MAX_CANDIDATES = 64;

  /** Types whose names people shorten to a part. */
  private static final Set<String> TYPES_WITH_PARTS = Set.of("person", "organization", "band");

  /** A part that more entities have in their names tells nothing. */
  private static final int MAX_SHARING = 3;

  /** An ordinary word tells nobody from others; a given name is rarer than those and still not rare. */
  private static final double LEAST_PART_RARITY = 0.9;

  private static final double LEAST_GIVEN_RARITY = 0.5;

  /** Another way to make names of an entity is another number. */
  private static final int RULES = 4;

  private final CommonWords words;
  private final Demonyms demonyms = new Demonyms();

  SegmentBuilder(CommonWords words) {
    this.words = words;
  }

  /** Changes with what names depend on: how ordinary words are, the demonyms, and the rules below. */
  long fingerprint() {
    return (words.fingerprint() * 31 + demonyms.fingerprint()) * 31 + RULES;
  }

  /** Builds a segment; of rows with the same id the last counts. */
  KnowledgeSegment build(Collection<KnowledgeRow> input) {
    Map<String, KnowledgeRow> byId = new HashMap<>();
    input.forEach(row -> byId.put(row.id(), row));
    List<KnowledgeRow> rows = new ArrayList<>(byId.values());
    rows.sort((a, b) -> StringTable.compareUtf8(a.id(), b.id()));

    Set<String> allIds = new HashSet<>(rows.size() * 2);
    for (KnowledgeRow row : rows) {
      allIds.add(row.id());
      row.entity().neighbours().forEach(neighbour -> allIds.add(neighbour.id()));
      if (row.redirect() != null) {
        allIds.add(row.redirect());
      }
    }
    List<String> ids = new ArrayList<>(allIds);
    ids.sort(StringTable::compareUtf8);
    Map<String, Integer> indexOf = new HashMap<>(ids.size() * 2);
    for (int i = 0; i < ids.size(); i++) {
      indexOf.put(ids.get(i), i);
    }
    KnowledgeSegment.Columns columns = columns(rows, ids, indexOf);
    return names(rows, columns);
  }

  private static KnowledgeSegment.Columns columns(
      List<KnowledgeRow> rows, List<String> ids, Map<String, Integer> indexOf) {
    int size = rows.size();
    int[] rowOf = new int[ids.size()];
    Arrays.fill(rowOf, -1);
    int[] idOf = new int[size];
    Names types = new Names();
    short[] typeOf = new short[size];
    Names sources = new Names();
    short[] sourceOf = new short[size];
    float[] priors = new float[size];
    int[] aliasOffsets = new int[size + 1];
    List<String> aliases = new ArrayList<>();
    int[] neighbourOffsets = new int[size + 1];
    int edges = rows.stream().mapToInt(row -> row.entity().neighbours().size()).sum();
    int[] neighbours = new int[edges];
    Names relations = new Names();
    short[] relationOf = new short[edges];
    int[] redirects = new int[size];
    int[] incomingOffsets = new int[ids.size() + 1];
    int edge = 0;
    for (int row = 0; row < size; row++) {
      Entity entity = rows.get(row).entity();
      idOf[row] = indexOf.get(entity.id());
      rowOf[idOf[row]] = row;
      typeOf[row] = types.of(entity.type());
      sourceOf[row] = sources.of(rows.get(row).source());
      priors[row] = (float) entity.prior();
      aliases.addAll(entity.aliases());
      aliasOffsets[row + 1] = aliases.size();
      for (Entity.Neighbour neighbour : entity.neighbours()) {
        neighbours[edge] = indexOf.get(neighbour.id());
        relationOf[edge] = relations.of(neighbour.relation());
        incomingOffsets[neighbours[edge] + 1]++;
        edge++;
      }
      neighbourOffsets[row + 1] = edge;
      String redirect = rows.get(row).redirect();
      redirects[row] = redirect == null ? -1 : indexOf.get(redirect);
      if (redirects[row] >= 0) {
        incomingOffsets[redirects[row] + 1]++;
      }
    }
    for (int i = 0; i < ids.size(); i++) {
      incomingOffsets[i + 1] += incomingOffsets[i];
    }
    int[] incoming = new int[incomingOffsets[ids.size()]];
    int[] next = Arrays.copyOf(incomingOffsets, ids.size());
    for (int row = 0; row < size; row++) {
      for (int i = neighbourOffsets[row]; i < neighbourOffsets[row + 1]; i++) {
        incoming[next[neighbours[i]]++] = row;
      }
      if (redirects[row] >= 0) {
        incoming[next[redirects[row]]++] = row;
      }
    }
    String[] keys = rows.stream().map(row -> TextTokens.nameKey(row.entity().label())).toArray(String[]::new);
    List<Integer> order = new ArrayList<>();
    for (int row = 0; row < size; row++) {
      order.add(row);
    }
    order.sort(Comparator.comparing((Integer row) -> keys[row], StringTable::compareUtf8));
    return new KnowledgeSegment.Columns(
        StringTable.of(ids), rowOf, idOf,
        StringTable.of(rows.stream().map(row -> row.entity().label()).toList()),
        StringTable.of(rows.stream().map(row -> {
          String description = row.entity().description();
          return description == null ? "" : description;
        }).toList()),
        types.toArray(), typeOf, sources.toArray(), sourceOf, priors,
        aliasOffsets, StringTable.of(aliases), neighbourOffsets, neighbours, relations.toArray(), relationOf,
        redirects, incomingOffsets, incoming,
        StringTable.of(order.stream().map(row -> keys[row]).toList()),
        order.stream().mapToInt(Integer::intValue).toArray());
  }

  private KnowledgeSegment names(List<KnowledgeRow> rows, KnowledgeSegment.Columns columns) {
    record Name(BytesRef key, int row, NameKind kind) {}
    List<Name> names = new ArrayList<>();
    Map<String, Set<Integer>> parts = new HashMap<>();
    Map<String, Set<Integer>> given = new HashMap<>();
    for (int row = 0; row < rows.size(); row++) {
      if (rows.get(row).redirect() == null) {
        Set<String> keys = keys(rows.get(row).entity());
        for (String key : keys) {
          names.add(new Name(new BytesRef(key), row, NameKind.FULL));
        }
        for (String key : derived(rows.get(row).entity())) {
          if (keys.add(key)) {
            names.add(new Name(new BytesRef(key), row, NameKind.DERIVED));
          }
        }
        share(parts(rows.get(row).entity()), keys, row, parts);
        share(givenNames(rows.get(row).entity()), keys, row, given);
      }
    }
    sharing(parts, (part, row) -> names.add(new Name(new BytesRef(part), row, NameKind.PART)));
    sharing(given, (part, row) -> names.add(new Name(new BytesRef(part), row, NameKind.GIVEN)));
    names.sort(Comparator.comparing(Name::key)
        .thenComparing(Name::kind)
        .thenComparing(name -> -columns.priors()[name.row])
        .thenComparingInt(Name::row));
    int[] candidates = new int[names.size()];
    int[] offsets = new int[names.size() + 1];
    int nameCount = 0;
    int size = 0;
    try {
      FSTCompiler<Long> compiler =
          new FSTCompiler.Builder<>(FST.INPUT_TYPE.BYTE1, PositiveIntOutputs.getSingleton()).build();
      IntsRefBuilder scratch = new IntsRefBuilder();
      @Nullable BytesRef last = null;
      for (Name name : names) {
        if (last == null || !last.equals(name.key)) {
          compiler.add(Util.toIntsRef(name.key, scratch), (long) nameCount);
          nameCount++;
          last = name.key;
        }
        if (size - offsets[nameCount - 1] < MAX_CANDIDATES) {
          candidates[size++] = KnowledgeSegment.candidate(name.row, name.kind);
        }
        offsets[nameCount] = size;
      }
      FST.FSTMetadata<Long> metadata = compiler.compile();
      @Nullable FST<Long> fst = metadata == null ? null : FST.fromFSTReader(metadata, compiler.getFSTReader());
      return new KnowledgeSegment(
          columns, fst, Arrays.copyOf(offsets, nameCount + 1), Arrays.copyOf(candidates, size));
    } catch (IOException e) {
      throw new UncheckedIOException("cannot build the name automaton", e);
    }
  }

  private static void share(List<String> parts, Set<String> keys, int row, Map<String, Set<Integer>> rows) {
    for (String part : parts) {
      if (!keys.contains(part)) {
        rows.computeIfAbsent(part, key -> new TreeSet<>()).add(row);
      }
    }
  }

  private static void sharing(Map<String, Set<Integer>> rows, ObjIntConsumer<String> telling) {
    rows.forEach((part, sharing) -> {
      if (sharing.size() <= MAX_SHARING) {
        sharing.forEach(row -> telling.accept(part, row));
      }
    });
  }

  /** The first word of a person's name. */
  private List<String> givenNames(Entity entity) {
    String[] terms = TextTokens.matchKey(entity.label()).split(" ");
    boolean told = entity.type().equals("person") && terms.length >= 2 && terms[0].length() >= 3
        && words.rarity(terms[0]) >= LEAST_GIVEN_RARITY;
    return told ? List.of(terms[0]) : List.of();
  }

  /** The keys under which the tagger finds an entity. */
  private Set<String> keys(Entity entity) {
    Set<String> keys = new LinkedHashSet<>();
    addKeys(entity.label(), keys);
    for (String alias : entity.aliases()) {
      if (!ambiguousAcronym(alias)) {
        addKeys(alias, keys);
      }
    }
    keys.remove("");
    return keys;
  }

  /** Keys of words made from the entity's name. */
  private Set<String> derived(Entity entity) {
    Set<String> keys = new LinkedHashSet<>();
    demonyms.of(entity).forEach(word -> addKeys(word, keys));
    String label = entity.label();
    if (entity.type().equals("ethnicity") && label.endsWith(" people")) {
      addKeys(label.substring(0, label.length() - " people".length()), keys);
    }
    if (label.endsWith(" cuisine")) {
      addKeys(label.substring(0, label.length() - "cuisine".length()) + "food", keys);
    }
    return keys;
  }

  /** Words of a name that tell who is meant: a family name, what tells a team or a university from others. */
  private List<String> parts(Entity entity) {
    String[] terms = TextTokens.matchKey(entity.label()).split(" ");
    if (terms.length < 2 || !TYPES_WITH_PARTS.contains(entity.type())) {
      return List.of();
    }
    boolean person = entity.type().equals("person");
    List<String> parts = new ArrayList<>();
    for (int i = person ? terms.length - 1 : 0; i < terms.length; i++) {
      if (terms[i].length() >= 3 && words.rarity(terms[i]) >= LEAST_PART_RARITY) {
        parts.add(terms[i]);
      }
    }
    return parts;
  }

  /** "IT" and "WHO" are read as ordinary words: the tagger sees no capitals. Given names, as in "MA", are rarer. */
  private boolean ambiguousAcronym(String alias) {
    return alias.length() <= 4 && alias.equals(alias.toUpperCase(Locale.ROOT))
        && words.known(TextTokens.matchKey(alias)) && words.rarity(TextTokens.matchKey(alias)) < 0.55;
  }

  private void addKeys(String name, Set<String> keys) {
    String key = TextTokens.matchKey(name);
    keys.add(key);
    // People leave out the article of a title, but "game" is not "The Game".
    if (key.startsWith("the ") && Linkability.information(key.substring(4), words) >= 0.9) {
      keys.add(key.substring(4));
    }
    // The tagger's singular of a plural is not always the word: movies, tomatoes.
    keys.add(TextTokens.matchKey(plural(name)));
    if (name.indexOf('-') > 0) {
      keys.add(TextTokens.matchKey(name.replace("-", "")));
    }
  }

  private static String plural(String name) {
    boolean sibilant = name.endsWith("s") || name.endsWith("x") || name.endsWith("ch") || name.endsWith("sh");
    return sibilant || name.endsWith("o") ? name + "es" : name + "s";
  }

  /** Numbers for the few names of a column. */
  private static final class Names {
    private final Map<String, Short> numbers = new HashMap<>();
    private final List<String> names = new ArrayList<>();

    short of(String name) {
      return numbers.computeIfAbsent(name, added -> {
        if (names.size() > Short.MAX_VALUE) {
          throw new IllegalArgumentException("more than 32,768 different types or relations");
        }
        names.add(added);
        return (short) (names.size() - 1);
      });
    }

    String[] toArray() {
      return names.toArray(String[]::new);
    }
  }
}
