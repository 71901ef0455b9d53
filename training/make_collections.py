"""Writes training collections in BEIR's layout from texts that have no queries of their own.

Usage: python make_collections.py DATA OUT [--dictionary FILE.dict.dz ...] [--wordnet DIR] [--articles FILE.json]
                                  [--manuals DIR]

  scifact-cloze, movies-cloze   a title, a sentence or some words of a document find the rest of it
  entities                      SimpleQuestions and relations find entities of Wikidata
  conversations                 questions of CAsT 2021 and iKAT 2023 find their passages
  dictionary                    articles of dictionaries in the dict format, as for cloze
  encyclopedia                  first sections of Wikipedia's vital articles, as for cloze; besides, questions that people
                                asked, without a known answer: the teachers alone say what is near
  thesaurus                     meanings of WordNet, found by another word for them, by an example or by their own words
  manuals                       pages of man, found by their one-line description

Seeded: the same input gives the same files. Collections that validate (cranfield, npl) are not read.
"""

import argparse
import gzip
import json
import pathlib
import random
import re

STOP = set("a an and are as at be by can could did do does for from had has have how in into is it its may not of on or "
           "our over such than that the their there these they this those to was we were what when where which who will "
           "with within would".split())


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        yield from stream


class Collection:
    def __init__(self, name):
        self.name = name
        self.documents = {}
        self.queries = []

    def add(self, query, grades):
        query = re.sub(r"\s+", " ", query).strip()
        if len(query) > 2:
            self.queries.append((query, grades))

    def write(self, out):
        directory = out / self.name
        (directory / "qrels").mkdir(parents=True, exist_ok=True)
        with gzip.open(directory / "corpus.jsonl.gz", "wt") as stream:
            for key, (title, text) in self.documents.items():
                stream.write(json.dumps({"_id": key, "title": title, "text": text}) + "\n")
        with gzip.open(directory / "queries.jsonl.gz", "wt") as stream, \
                gzip.open(directory / "qrels" / "train.tsv.gz", "wt") as qrels:
            for i, (query, grades) in enumerate(self.queries):
                stream.write(json.dumps({"_id": f"q{i}", "text": query}) + "\n")
                for key, grade in grades.items():
                    qrels.write(f"q{i}\t{key}\t{grade}\n")
        print(self.name, len(self.documents), "documents,", len(self.queries), "queries")



def sentences(text):
    return [s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z\"(])", text) if len(s.split()) > 4]


def keywords(text, rng, most=6):
    words = [w for w in re.findall(r"[\w'-]+", text) if w.lower() not in STOP and len(w) > 2]
    if len(words) < 2:
        return text
    count = min(len(words), rng.randint(2, most))
    kept = sorted(rng.sample(range(len(words)), count))
    return " ".join(words[i] for i in kept).lower()


def span(text, rng):
    """Some words in a row, as somebody remembers them."""
    words = text.split()
    length = rng.randint(4, 12)
    start = rng.randrange(max(1, len(words) - length))
    return " ".join(words[start:start + length]).strip(" ,.;:()").lower()


def asked(title, rng):
    title = title.rstrip(" .")
    title = title if title.isupper() else title[:1].lower() + title[1:]
    return rng.choice(["what is known about {}", "{} ?", "information on {}", "how does {} work", "papers on {}",
                       "what is {}", "has anyone studied {}", "what are the effects of {}", "{} explained",
                       "tell me about {}"]).format(title)


def cloze(name, documents, limit, rng, title_weight, more=0):
    """
    Each document gives one query, and loses the words that it gave, unless the query is only words of it; then {@code
    more} queries of words that it keeps.
    """
    collection = Collection(name)
    for key, title, text in documents:
        split = sentences(text)
        kind = rng.random()
        if title and kind < title_weight:
            query = title if rng.random() < 0.6 else asked(title, rng) if rng.random() < 0.5 else keywords(title, rng)
            title = ""
        elif len(split) > 2 and kind < title_weight + 0.35:
            at = rng.randrange(len(split))
            query = split[at] if rng.random() < 0.6 else keywords(split[at], rng)
            text = " ".join(split[:at] + split[at + 1:])
            if rng.random() < 0.3:
                title = ""
        else:
            query = keywords(rng.choice(split) if split else f"{title} {text}", rng)
            if rng.random() < 0.3:
                title = ""
        collection.documents[key] = (title, text)
        if len(text.split()) > 8:
            collection.add(" ".join(query.split()[:48]), {key: 1})
            for _ in range(more):
                kind = rng.random()
                query = (asked(title, rng) if title and kind < 0.25 else span(text, rng) if kind < 0.5
                         else keywords(f"{title} {text}" if kind < 0.75 else rng.choice(sentences(text) or [text]), rng, 9))
                collection.add(query, {key: 1})
    rng.shuffle(collection.queries)
    del collection.queries[limit:]
    return collection


def entities(data, rng, limit):
    collection = Collection("entities")
    by_freebase, by_wikidata = {}, {}
    facts = {}
    raw = json.loads(gzip.open(data / "wikidata-fb15k" / "entity2wikidata.json.gz", "rt").read())
    for key, entity in raw.items():
        by_freebase[key] = entity["label"]
        if entity.get("wikidata_id"):
            by_wikidata[entity["wikidata_id"]] = key
    relations = []
    for part in ("valid", "test"):
        for line in lines(data / "wikidata-fb15k" / f"{part}.txt.gz"):
            head, relation, tail = line.rstrip("\n").split("\t")
            if head in by_freebase and tail in by_freebase:
                words = relation.split("/")[-1].replace("_", " ")
                facts.setdefault(head, []).append(f"{words}: {by_freebase[tail]}")
                relations.append((head, words, tail))
    for key, entity in raw.items():
        aliases = ", ".join(entity.get("alternatives", [])[:6])
        text = (entity.get("description") or "").strip()
        text = (text[:1].upper() + text[1:] + ".") if text else ""
        if aliases:
            text += f" Also known as {aliases}."
        # Half of the facts: the other half can only be answered from what the model knows.
        known = facts.get(key, [])[::2][:8]
        text += "".join(f" {fact}." for fact in known)
        collection.documents[key] = (entity["label"], text.strip())
    for line in lines(data / "simplequestions" / "annotated_wd_data_train.txt.gz"):
        subject, _, _, question = line.rstrip("\n").split("\t")
        if subject in by_wikidata:
            collection.add(question, {by_wikidata[subject]: 1})
    heads = {}
    for head, words, tail in relations:
        heads.setdefault((words, tail), set()).add(head)
    for (words, tail), found in sorted(heads.items()):
        if len(found) <= 8:
            collection.add(f"{by_freebase[tail]} {words}", {key: 1 for key in sorted(found)})
    rng.shuffle(collection.queries)
    del collection.queries[limit:]
    return collection


def conversations(data):
    collection = Collection("conversations")

    def add(key, query, passage):
        if len(passage.split()) > 12:
            collection.documents[key] = ("", passage)
            collection.add(query, {key: 1})

    for topic in json.loads(gzip.open(data / "cast" / "2021_2021_manual_evaluation_topics_v1.0.json.gz", "rt").read()):
        for turn in topic["turn"]:
            add(f"c{topic['number']}-{turn['number']}", turn["manual_rewritten_utterance"], turn.get("passage") or "")
    for part in ("train", "test"):
        for topic in json.loads(gzip.open(data / "ikat2023" / f"2023_{part}_topics.json.gz", "rt").read()):
            for turn in topic["turns"]:
                add(f"i{part}{topic['number']}-{turn['turn_id']}", turn["resolved_utterance"], turn["response"])
    return collection


def questions(data, rng):
    """What people asked: no document here is known to answer it."""
    found = [json.loads(line)["question"] for line in lines(data / "query-text" / "NQ-open.dev.jsonl.gz")]
    formed = [line.split("\t") for line in lines(data / "query-text" / "query-wellformedness-train.tsv.gz")]
    found += rng.sample([text.removesuffix(" ?") for text, score in formed if float(score) > 0.5], 4000)
    found += [line.rstrip("\n").split("\t")[1] for line in
              lines(data / "cast" / "2019_data_evaluation_evaluation_topics_annotated_resolved_v1.0.tsv.gz")]
    for dialogue in json.loads(gzip.open(data / "entity-linking" / "ConEL22_PEMD_Train.json.gz", "rt").read()):
        found += [turn["utterance"] for turn in dialogue["turns"]
                  if turn["speaker"] == "USER" and 5 < len(turn["utterance"].split()) < 40]
    return found


def encyclopedia(path, data, limit, rng):
    """A JSON object of {title: {title, extract, description}}."""
    articles = json.loads(path.read_text())
    collection = cloze("encyclopedia", [(f"a{i}", a["title"], a["extract"])
                                        for i, a in enumerate(articles.values()) if a["extract"]], limit, rng, 0.3, 2)
    for query in questions(data, rng):
        collection.add(query, {})
    return collection


def dictionary(path):
    """Articles of a file of the dict format in FOLDOC's form: a headword in column 0, then indented text."""
    text = gzip.open(path, "rt", encoding="utf-8", errors="replace").read()
    for i, article in enumerate(re.split(r"\n(?=\S)", text)):
        head, _, body = article.partition("\n")
        body = re.sub(r"\s+", " ", re.sub(r"[{}]", "", body)).strip()
        if 15 < len(body.split()) and not head.startswith("00-"):
            yield f"{path.name[0]}{i}", head.strip(), body


def thesaurus(directory, rng, limit):
    collection = Collection("thesaurus")
    synsets = []
    for part in ("noun", "verb", "adj"):
        for line in open(directory / f"data.{part}", encoding="utf-8"):
            if line.startswith(" "):
                continue
            facts, _, gloss = line.partition(" | ")
            fields = facts.split()
            count = int(fields[3], 16)
            words = [fields[4 + 2 * i].replace("_", " ").split("(")[0] for i in range(count)]
            examples = re.findall(r'"([^"]+)"', gloss)
            definition = re.sub(r'"[^"]+"', "", gloss).strip(" ;\n")
            if len(definition.split()) > 6:
                synsets.append((part[0] + fields[0], words, definition, examples))
    rng.shuffle(synsets)
    # Those with several words or an example say most.
    synsets.sort(key=lambda s: len(s[1]) == 1 and not s[3])
    for key, words, definition, examples in synsets[:limit]:
        rng.shuffle(words)
        title, queries = words[0], []
        if len(words) > 1:
            queries.append(", ".join(words[1:3]))
            words = words[:1] + words[3:]
        if examples:
            queries.append(examples[0])
        queries.append(keywords(definition, rng))
        text = definition[:1].upper() + definition[1:] + "."
        text += f" Also {', '.join(words[1:])}." if len(words) > 1 else ""
        text += "".join(f" {example}." for example in examples[1:])
        collection.documents[key] = ("" if rng.random() < 0.3 else title, text)
        collection.add(queries[0] if rng.random() < 0.7 else rng.choice(queries), {key: 1})
    return collection


def manuals(directory):
    """Descriptions of pages of man; the one-line description is the title."""
    for section in ("1", "5", "7", "8"):
        for path in sorted((directory / f"man{section}").glob("*.gz")):
            if path.is_symlink():
                continue
            try:
                page = gzip.open(path, "rt", encoding="utf-8", errors="replace").read(40000)
            except (OSError, EOFError):
                continue
            page = re.sub(r'\\f(\[[^]]*\]|\(..|.)|\\[&/,|^]', "", page).replace("\\-", "-").replace("\\(aq", "'")
            parts = re.split(r'^\.S[Hh] +"?([^"\n]*)"?.*$', page, flags=re.M)
            sections = dict(zip((p.strip().upper() for p in parts[1::2]), parts[2::2]))

            def plain(text):
                kept = [re.sub(r"^\.(B|I|BR|IR|RB|BI|IB|RI|SB) +", "", line) for line in text.split("\n")]
                return re.sub(r"\s+", " ", " ".join(line for line in kept if not line.startswith((".", "'")))).strip()

            name, body = plain(sections.get("NAME", "")), plain(sections.get("DESCRIPTION", ""))
            title = re.sub(r"^\S+( *, *\S+)* +-+ +", "", name)
            if title != name and len(title.split()) > 2 and len(body.split()) > 20 and body.count("\\") < 3:
                yield path.name, title, " ".join(body.split()[:200])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--dictionary", type=pathlib.Path, nargs="*", default=[])
    parser.add_argument("--wordnet", type=pathlib.Path)
    parser.add_argument("--articles", type=pathlib.Path)
    parser.add_argument("--manuals", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    scifact = [(d["_id"], d["title"], d["text"]) for d in map(json.loads, lines(options.data / "scifact/corpus.jsonl.gz"))]
    movies = [(d["id"], d["title"], d.get("overview") or "")
              for d in map(json.loads, lines(options.data / "movies/corpus.jsonl.gz"))]
    made = [
        cloze("scifact-cloze", scifact, 12000, rng, 0.4, 2),
        cloze("movies-cloze", movies, 6000, rng, 0.0),
        entities(options.data, rng, 12000),
        conversations(options.data),
    ]
    if options.dictionary:
        articles = [a for path in options.dictionary for a in dictionary(path)]
        made.append(cloze("dictionary", articles, 18000, rng, 0.3, 1))
    if options.articles:
        made.append(encyclopedia(options.articles, options.data, 20000, rng))
    if options.wordnet:
        made.append(thesaurus(options.wordnet, rng, 20000))
    if options.manuals:
        pages = {}
        for key, title, text in manuals(options.manuals):
            pages.setdefault(text[:200], (key, title, text))
        made.append(cloze("manuals", list(pages.values()), 6000, rng, 0.6, 1))
    for collection in made:
        collection.write(options.out)


if __name__ == "__main__":
    main()
