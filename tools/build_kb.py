#!/usr/bin/env python3
"""Builds src/main/resources/kb/: the bundled knowledge base and the lists of English words.

usage: tools/build_kb.py WIKIDATA_FB15K CODEX_TYPES MOVIES

  WIKIDATA_FB15K  folder with entity2wikidata.json.gz, test.txt.gz and valid.txt.gz
  CODEX_TYPES     folder with types/entity2types.json.gz and types/types.en.json.gz
  MOVIES          folder with corpus.jsonl.gz (word frequencies, words and given names only)

The same input gives the same bytes. Sources and licences: src/main/resources/kb/NOTICE.
"""
import collections
import gzip
import json
import math
import pathlib
import re
import sys
import urllib.parse

OUT = pathlib.Path(__file__).resolve().parent.parent / "src/main/resources/kb"
MAX_NEIGHBOURS = 24
MAX_ALIASES = 12

# Relations that say nothing about what a thing is about.
SKIPPED_RELATIONS = re.compile(
    r"/common/topic/webpage|/people/person/gender|marriage/type_of_union|budget|currency|"
    r"distribution_medium|dated_integer|dated_money|nutrition_fact|colors|time_zones|release_region|"
    r"person/profession|film_crew_role|person/nationality")

# Freebase domains of a relation's head, in the order in which they are believed.
HEAD_TYPES = [
    (r"^/people/person/|^/influence/|^/celebrities/", "person"),
    (r"^/film/film/|^/tv/tv_program/|^/book/|^/award/award_winning_work/|^/media_common/netflix_title", "work"),
    (r"^/film/actor/|^/film/director/|^/music/artist/|^/music/group_member/", "person"),
    (r"^/location/|^/travel/", "place"),
    (r"^/organization/|^/education/educational_institution/|^/sports/sports_team|^/business/business_operation",
     "organization"),
    (r"^/music/genre/|^/media_common/netflix_genre/|^/film/film_genre", "genre"),
    (r"^/medicine/|^/people/cause_of_death", "health"),
    (r"^/people/ethnicity", "ethnicity"),
]

# Words of a description or of a CoDEx type, most telling first. Sensitive types come early: better to hold back
# a harmless thing than to learn a delicate one.
DESCRIPTION_TYPES = [
    (r"\b(disease|disorder|syndrome|cancer|illness|infection|symptom|cause of death|medication|drug|medical condition"
     r"|mental|therapy|pathological|health problem|inflammation|failure of)\b", "health"),
    (r"\b(religion|religious|christian denomination|protestantism|denomination|branch of islam|faith|buddhism|judaism"
     r"|church body|christian church|adherent of|hinduism|irreligion|monotheis|deity|theology)", "religion"),
    (r"\b(sexual orientation|sexuality|sexual attraction|homosexual|bisexual|lgbt|transgender|pornograph|sexual)",
     "sexuality"),
    (r"\b(political party|political ideology|political position|political movement|ideology)\b", "politics"),
    (r"\b(ethnic group|ethnicity|nationality|ethnoreligious|people of .* descent)\b", "ethnicity"),
    (r"\b(fictional|comic book character|superhero|character in)\b", "character"),
    (r"\b(media franchise|film series|book series|franchise about|opera franchise)\b", "work"),
    (r"\b(genre|style of music|music style)\b", "genre"),
    (r"\b(award|prize|medal|hall of fame|ceremony)\b", "award"),
    (r"\b(actor|actress|musician|singer|songwriter|director|screenwriter|producer|composer|comedian|rapper|politician"
     r"|writer|novelist|author|cinematographer|footballer|player|philosopher|artist|guitarist|drummer|journalist"
     r"|president of|poet|model|presenter|economist|scientist|physicist|wrestler|lyricist|filmmaker|editor|designer"
     r"|dancer|entertainer|pianist|statesman|lawyer|historian|playwright|voice-?actor|person|human)\b", "person"),
    (r"\b(film|movie|television series|tv series|sitcom|miniseries|novel|album|video game|play|musical|television show"
     r"|trilogy|television program|book|anime|manga|song)\b", "work"),
    (r"\b(band|duo|musical group|rock group|pop group|supergroup|ensemble|orchestra)\b", "band"),
    (r"\b(university|college|club|team|company|label|organi[sz]ation|studio|network|school|institute|corporation"
     r"|league|party|agency|academy|channel|franchise|publisher|manufacturer|government|association|legislature"
     r"|parliament|senate|broadcaster)\b", "organization"),
    (r"\b(city|county|country|state|town|capital|province|village|region|district|island|borough|continent|municipality"
     r"|sovereign|territory|river|mountain|settlement|parish|neighbou?rhood|prefecture|republic|census|unitary"
     r"|metropolitan|area|commune|kingdom|peninsula|place)\b", "place"),
    (r"\b(instrument)\b", "instrument"),
    (r"\b(language|dialect)\b", "language"),
    (r"\b(sport|martial art|olympic|game)\b", "sport"),
    (r"\b(profession|occupation|job|position|title|role|military rank|office)\b", "profession"),
    (r"\b(war|battle|conflict|revolution|election|event|festival|tournament|championship|season)\b", "event"),
    (r"\b(chemical|element|compound|vitamin|mineral|amino acid|substance)\b", "substance"),
    (r"\b(discipline|study|science|field|branch of|academic)\b", "field"),
]

# Names that say what they name, for entities without a description.
LABEL_TYPES = [
    (r"\b(award|awards|prize|medal|golden globe)\b", "award"),
    (r"\b(church|divinity|seminary)\b", "religion"),
    (r"\b(university|college|company|records|studios|f\.?c\.?|entertainment|pictures)\b", "organization"),
]


def read_json(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)


def guess(patterns, text):
    for pattern, kind in patterns:
        if re.search(pattern, text, re.IGNORECASE):
            return kind
    return None


def relation_name(relation):
    """The last, most telling part of a Freebase property path."""
    return relation.rstrip("/").rsplit("/", 1)[-1].replace("_", " ")


def page_title(value):
    """The title of the entity's page in the English Wikipedia, without what tells it from others: what people call it."""
    page = urllib.parse.unquote((value.get("wikipedia") or "").partition("/wiki/")[2]).replace("_", " ")
    return re.sub(r" \([^)]*\)$", "", page).strip()


def knowledge_base(fb15k, codex):
    source = read_json(fb15k / "entity2wikidata.json.gz")
    codex_types = read_json(codex / "types/entity2types.json.gz")
    type_labels = read_json(codex / "types/types.en.json.gz")

    ids = {mid: value["wikidata_id"] for mid, value in source.items()}
    degree = collections.Counter()
    edges = collections.defaultdict(dict)
    heads = collections.defaultdict(collections.Counter)
    for name in ("test", "valid"):
        with gzip.open(fb15k / f"{name}.txt.gz", "rt", encoding="utf-8") as file:
            for line in file:
                head, relation, tail = line.rstrip("\n").split("\t")
                if head not in ids or tail not in ids:
                    continue
                degree[head] += 1
                degree[tail] += 1
                kind = guess(HEAD_TYPES, relation)
                if kind:
                    heads[head][kind] += 1
                if not SKIPPED_RELATIONS.search(relation) and ids[head] != ids[tail]:
                    edges[head].setdefault(tail, relation_name(relation))

    most = math.log1p(max(degree.values()))
    entities = {}
    for mid in sorted(source):
        value = source[mid]
        label = (value.get("label") or "").strip()
        description = (value.get("description") or "").strip()
        if not label:
            label = (value.get("alternatives") or [""])[0].strip()
        if not label or ids[mid] in entities:
            continue
        codex_text = " ; ".join(
            type_labels[t]["label"] for t in codex_types.get(ids[mid], []) if t in type_labels)
        kind = (
            guess(DESCRIPTION_TYPES, description)
            or (not description and guess(LABEL_TYPES, label))
            or (heads[mid].most_common(1)[0][0] if heads[mid] else None)
            or guess(DESCRIPTION_TYPES, codex_text)
            or "thing")
        aliases, seen = [], {label.casefold()}
        for alias in [page_title(value), *(value.get("alternatives") or [])]:
            alias = alias.strip()
            # Single letters, country codes in lower case and long sentences are no names.
            if (3 if alias.islower() else 2) <= len(alias) <= 60 and alias.casefold() not in seen:
                seen.add(alias.casefold())
                aliases.append(alias)
        # Few, telling neighbours: those that are not neighbours of everything come first.
        targets = sorted(edges[mid], key=lambda t: (degree[t], ids[t]))[:MAX_NEIGHBOURS]
        neighbours, linked = [], set()
        for target in targets:
            if ids[target] not in linked:
                linked.add(ids[target])
                neighbours.append({"id": ids[target], "relation": edges[mid][target]})
        entities[ids[mid]] = {
            "id": ids[mid],
            "label": label,
            "aliases": aliases[:MAX_ALIASES],
            "type": kind,
            "description": description or None,
            "prior": round(0.05 + 0.9 * math.log1p(degree[mid]) / most, 3),
            "neighbours": neighbours,
        }
    return entities


WORD = re.compile(r"(?<![\w'’-])[a-z]+(?![\w])")


def common_words(movies, entities):
    """Words that people write in lower case, with how often, and given names, which name nobody on their own; beside
    them the words that are too rare for that and yet no names."""
    counts, names = collections.Counter(), collections.Counter()
    with gzip.open(movies / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            film = json.loads(line)
            counts.update(WORD.findall(film.get("overview") or ""))
            for actor in film.get("actors") or []:
                parts = actor.split()
                if len(parts) > 1 and parts[0].isalpha():
                    names[parts[0].lower()] += 1
    # Spelled like this in at least 4 texts: an ordinary word.
    words = {word: count for word, count in counts.items() if count >= 4}
    for name, count in names.items():
        if count >= 8:
            words[name] = max(words.get(name, 0), 60)
    described = {word for entity in entities.values() for word in WORD.findall(entity["description"] or "")}
    rare = {word for word in described | set(counts) if len(word) >= 4} - set(words)
    return words, rare


def write_gzip(path, text):
    with open(path, "wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=9) as out:
        out.write(text.encode("utf-8"))


def main():
    fb15k, codex, movies = map(pathlib.Path, sys.argv[1:4])
    OUT.mkdir(parents=True, exist_ok=True)
    entities = knowledge_base(fb15k, codex)
    lines = []
    for identifier in sorted(entities):
        entity = {key: value for key, value in entities[identifier].items() if value not in (None, [])}
        lines.append(json.dumps(entity, ensure_ascii=False, separators=(",", ":")))
    write_gzip(OUT / "wikidata-fb15k.ndjson.gz", "\n".join(lines) + "\n")
    words, rare = common_words(movies, entities)
    ordered = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    write_gzip(OUT / "common-words.tsv.gz", "".join(f"{word}\t{count}\n" for word, count in ordered))
    write_gzip(OUT / "rare-words.txt.gz", "".join(f"{word}\n" for word in sorted(rare)))
    kinds = collections.Counter(entity["type"] for entity in entities.values())
    print(len(entities), "entities", sum(len(e["aliases"]) for e in entities.values()), "aliases",
          sum(len(e["neighbours"]) for e in entities.values()), "neighbours", len(words), "words",
          len(rare), "rare words")
    print(kinds.most_common())


if __name__ == "__main__":
    main()
