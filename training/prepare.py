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
    documents = {d["id"]: (d["title"], d.get("overview") or "")
                 for d in map(json.loads, lines(data / "movies/corpus.jsonl.gz"))}
    texts, grades = {}, {}
    for line in lines(data / "movies/judgments.tsv.gz"):
        query_id, query, document, grade = line.rstrip("\n").split("\t")
        if query_id != "query_id" and document in documents:
            texts[query_id] = query
            grades.setdefault(query_id, {})[document] = int(grade)
    return documents, [(i, texts[i], grades[i]) for i in texts]


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
    return documents, [(i, texts[i], grades[i]) for i in texts if i in grades]


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
    packer = Packer(options.wordpiece)
    for path in options.exports:
        if not path.name.startswith("movies"):
            packer.export(path)
    sources = [("movies", *movies(options.data)),
               ("scifact", *beir(options.data / "scifact", "train-queries.jsonl.gz", "train-evidence.tsv"))]
    for directory in sorted(p for p in options.sets.iterdir() if p.is_dir()):
        sources.append((directory.name, *beir(directory, "queries.jsonl.gz", "train.tsv.gz")))
    rng = random.Random(1)
    for name, documents, queries in sources:
        packer.begin(f"{name}/train", blocks.instruction)
        for key, (title, text) in documents.items():
            packer.document(key, title, text, blocks.document(title, text))
        for query_id, text, grades in queries:
            if name in ("movies", "scifact") and not train(query_id):
                continue
            found = [d for d, g in grades.items() if g > 0]
            others = [d for d, g in grades.items() if g == 0]
            rng.shuffle(others)
            if found:
                candidates = [[d, 0, 0.0, None, None, grades[d]] for d in found + others[:NEGATIVES]]
                packer.list(query_id, text, *blocks.last(text), candidates, [])
        packer.end()
        if name == "movies":
            for path in options.exports:
                if path.name.startswith("movies"):
                    packer.bm25_lists(path, {i: g for i, _, g in queries})
    packer.write(options.out)


if __name__ == "__main__":
    main()
