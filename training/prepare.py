"""Writes the training lists: judged queries of movies and SciFact (train parts) and made collections.

Usage: python prepare.py --gguf MODEL.gguf --wordpiece TOKENIZER.json --data DATA --sets SETS --exports EXPORT... OUT.npz

Validation lists come from `attune evaluate export`, so that they hold what the service's own retrieval finds. Training
lists name relevant documents and judged irrelevant ones; the trainer adds neighbours from the teacher's vectors.
"""

import argparse
import gzip
import json
import pathlib
import random
import zlib


import personal
from lists import Packer
from smol_tokens import Blocks

NEGATIVES = 40


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        yield from stream


def train(query_id):
    """The same part as `attune evaluate export --split train`."""
    return zlib.crc32(query_id.encode()) % 10 < 8


def movies(data):
    films = {d["id"]: d for d in map(json.loads, lines(data / "movies/corpus.jsonl.gz"))}
    texts, grades = {}, {}
    for line in lines(data / "movies/judgments.tsv.gz"):
        query_id, query, document, grade = line.rstrip("\n").split("\t")
        if query_id != "query_id" and document in films:
            texts[query_id] = query
            grades.setdefault(query_id, {})[document] = int(grade)
    return films, [(i, texts[i], grades[i]) for i in texts]


def beir(directory, queries, judgments):
    documents = {d["_id"]: (d["title"], d["text"]) for d in map(json.loads, lines(directory / "corpus.jsonl.gz"))}
    grades = {}
    path = directory / "qrels" / judgments
    rows = lines(path) if path.suffix == ".gz" else open(path)
    for line in rows:
        query_id, document, grade = line.rstrip("\n").split("\t")[:3]
        if query_id != "query-id":
            grades.setdefault(query_id, {})[document] = int(grade)
    texts = {q["_id"]: q["text"] for q in map(json.loads, lines(directory / queries))}
    return documents, [(i, texts[i], grades.get(i, {})) for i in texts]


def personal_validation(packer, blocks, films, path, rng):
    """Lists of an export with the user's own memory, another's and none; relevant are the user's films alone."""
    exported = [i for i in map(json.loads, lines(path)) if i["kind"] == "list"]
    of = {i["id"]: i for i in exported}
    texts = [(i["id"], i["query"], {c[0]: c[5] for c in i["candidates"]}) for i in exported]
    made = list(personal.validation_lists(films, texts, rng))
    for whose in ("own", "other", "none"):
        packer.also(f"personal-{whose}/validation")
        for query_id, text, memory, clicked in made:
            candidates = [[*c[:5], int(c[0] in clicked)] for c in of[query_id]["candidates"]]
            packer.list(query_id, text, *blocks.last(text, memory[whose]), candidates, [1] * min(10, len(clicked)))
        packer.queries_end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--wordpiece", required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--sets", type=pathlib.Path, required=True)
    parser.add_argument("--exports", nargs="*", default=[], type=pathlib.Path)
    options = parser.parse_args()
    blocks = Blocks(options.gguf)
    packer = Packer(options.wordpiece, [*blocks.document_frame, *blocks.newline])
    rng = random.Random(1)
    films, judged = movies(options.data)
    for path in options.exports:
        packer.export(path)
        if path.name.startswith("movies"):
            personal_validation(packer, blocks, films, path, rng)
    plots = {key: (film["title"], film.get("overview") or "") for key, film in films.items()}
    sources = [("movies", plots, judged),
               ("scifact", *beir(options.data / "scifact", "train-queries.jsonl.gz", "train-evidence.tsv"))]
    for directory in sorted(p for p in options.sets.iterdir() if p.is_dir()):
        sources.append((directory.name, *beir(directory, "queries.jsonl.gz", "train.tsv.gz")))

    def listed(key, text, memory, grades):
        found = [d for d, g in grades.items() if g > 0]
        others = [d for d, g in grades.items() if g == 0]
        rng.shuffle(others)
        candidates = [[d, 0, 0.0, None, None, grades[d]] for d in found[:NEGATIVES] + others[:NEGATIVES]]
        packer.list(key, text, *blocks.last(text, memory), candidates, [])

    for name, documents, queries in sources:
        packer.begin(f"{name}/train", blocks.instruction)
        for key, (title, text) in documents.items():
            packer.document(key, title, text, blocks.document(title, text))
        judged_set = name in ("movies", "scifact")
        for query_id, text, grades in queries:
            if not judged_set or train(query_id) and any(grades.values()):
                listed(query_id, text, (), grades)
        packer.end()
        if name == "movies":
            packer.also("personal/train")
            for query_id, text, memory, grades in personal.training_lists(films, queries, rng, train):
                listed(query_id, text, memory, grades)
            packer.queries_end()
    packer.write(options.out)


if __name__ == "__main__":
    main()
