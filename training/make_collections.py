"""Writes training collections in BEIR's layout from texts that have no queries of their own.

Usage: python collections.py DATA OUT [--dictionary FILE.dict.dz]

  scifact-cloze, movies-cloze   a title, a sentence or some words of a document find the rest of it
  entities                      SimpleQuestions and relations find entities of Wikidata
  conversations                 questions of CAsT 2021 and iKAT 2023 find their passages
  dictionary                    articles of a dictionary (with --dictionary), as for cloze

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
        if len(query) > 2 and grades:
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


def keywords(text, rng):
    words = [w for w in re.findall(r"[\w'-]+", text) if w.lower() not in STOP and len(w) > 2]
    if len(words) < 2:
        return text
    count = min(len(words), rng.randint(2, 6))
    kept = sorted(rng.sample(range(len(words)), count))
    return " ".join(words[i] for i in kept).lower()


def asked(title, rng):
    title = title.rstrip(" .")
    title = title if title.isupper() else title[:1].lower() + title[1:]
    return rng.choice(["what is known about {}", "{} ?", "information on {}", "how does research explain {}",
                       "has anyone studied {}", "papers on {}"]).format(title)


def cloze(name, documents, limit, rng, title_weight):
    """Each document gives one query, and loses the words that it gave, unless the query is only words of it."""
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
        query = " ".join(query.split()[:48])
        collection.documents[key] = (title, text)
        if len(text.split()) > 8:
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


def dictionary(path):
    """Articles of a file of the dict format in FOLDOC's form: a headword in column 0, then indented text."""
    text = gzip.open(path, "rt", encoding="utf-8", errors="replace").read()
    for i, article in enumerate(re.split(r"\n(?=\S)", text)):
        head, _, body = article.partition("\n")
        body = re.sub(r"\s+", " ", re.sub(r"[{}]", "", body)).strip()
        if 15 < len(body.split()) and not head.startswith("00-"):
            yield f"d{i}", head.strip(), body


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--dictionary", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    scifact = [(d["_id"], d["title"], d["text"]) for d in map(json.loads, lines(options.data / "scifact/corpus.jsonl.gz"))]
    movies = [(d["id"], d["title"], d.get("overview") or "")
              for d in map(json.loads, lines(options.data / "movies/corpus.jsonl.gz"))]
    made = [
        cloze("scifact-cloze", scifact, 5000, rng, 0.4),
        cloze("movies-cloze", movies, 2500, rng, 0.0),
        entities(options.data, rng, 3000),
        conversations(options.data),
    ]
    if options.dictionary:
        made.append(cloze("dictionary", list(dictionary(options.dictionary)), 4000, rng, 0.3))
    for collection in made:
        collection.write(options.out)


if __name__ == "__main__":
    main()
