"""Packs what `attune evaluate export` wrote into arrays, and makes batches of them.

Usage: python lists.py OUT.npz EXPORT.jsonl.gz ... [--wordpiece TOKENIZER.json] [--candidates 100]
"""

import argparse
import gzip
import json

import numpy as np


class Flat:
    """Sequences of small numbers end to end."""

    def __init__(self):
        self.values, self.offsets = [], [0]

    def add(self, values):
        self.values.extend(values)
        self.offsets.append(len(self.values))
        return len(self.offsets) - 2

    def arrays(self, name):
        return {name: np.array(self.values, dtype=np.uint16), f"{name}_offsets": np.array(self.offsets, dtype=np.int64)}


def pack(out, exports, wordpiece, width):
    tokenizer = None
    if wordpiece:
        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(wordpiece)
        tokenizer.no_padding()
        tokenizer.enable_truncation(256)
    documents, document_words = Flat(), Flat()
    last, signals, query_words = Flat(), Flat(), Flat()
    rows, scores, dense, grades, sets, ideals, names, ids, lengths = [], [], [], [], [], [], [], [], []
    header, ranges = None, []
    pending_documents, pending_queries = [], []
    for path in exports:
        number = {}
        first = len(documents.offsets) - 1
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            for line in stream:
                item = json.loads(line)
                if item["kind"] == "header":
                    if header and header["instruction"] != item["instruction"]:
                        raise SystemExit(f"{path} was exported with another prompt")
                    header = item
                    names.append(f"{item['dataset']}/{item['split']}")
                elif item["kind"] == "document":
                    number[item["id"]] = documents.add(item["tokens"])
                    pending_documents.append((item["title"] + " " + item["text"]).strip()[:4000])
                else:
                    found = item["candidates"]
                    if width and len(found) > width:
                        # Relevant ones that come later stay, in the place of the last others.
                        late = [c for c in found[width:] if c[5] > 0][:width // 4]
                        found = found[:width - len(late)] + late
                    if not any(c[5] > 0 for c in found) and not item.get("ideal"):
                        continue
                    last.add(item["tokens"])
                    signals.add(item["signals"])
                    rows.append([number[c[0]] for c in found])
                    scores.append([c[2] for c in found])
                    dense.append([-2.0 if c[4] is None else c[4] for c in found])
                    grades.append([c[5] for c in found])
                    ideals.append(item.get("ideal") or [])
                    sets.append(len(names) - 1)
                    ids.append(item["id"])
                    pending_queries.append(item["query"])
        ranges.append((first, len(documents.offsets) - 1))
    if tokenizer:
        for texts, flat in ((pending_documents, document_words),
                            (["Represent this sentence for searching relevant passages: " + q for q in pending_queries],
                             query_words)):
            for start in range(0, len(texts), 1000):
                for encoding in tokenizer.encode_batch(texts[start:start + 1000]):
                    flat.add(encoding.ids)
    longest = max(map(len, rows))

    def padded(values, fill, dtype):
        array = np.full((len(values), longest), fill, dtype=dtype)
        for i, row in enumerate(values):
            array[i, :len(row)] = row
        return array

    ideal = np.zeros((len(ideals), 10), dtype=np.uint8)
    for i, row in enumerate(ideals):
        ideal[i, :len(row)] = row
    arrays = {
        **documents.arrays("documents"), **last.arrays("last"), **signals.arrays("signals"),
        "rows": padded(rows, -1, np.int32), "scores": padded(scores, 0, np.float32),
        "dense": padded(dense, -2, np.float16), "grades": padded(grades, 0, np.uint8),
        "sets": np.array(sets, dtype=np.uint8), "ideal": ideal,
        "names": np.array(names), "set_documents": np.array(ranges, dtype=np.int64), "ids": np.array(ids),
        "instruction": np.array(header["instruction"], dtype=np.int32),
        "last_position": np.array(header["lastPosition"]), "layer": np.array(header["layer"]),
    }
    if tokenizer:
        arrays |= document_words.arrays("document_words") | query_words.arrays("query_words")
    np.savez_compressed(out, **arrays)
    for i, name in enumerate(names):
        print(name, int((arrays["sets"] == i).sum()), "lists")
    print(len(documents.offsets) - 1, "documents,", len(documents.values), "tokens")


def used_tokens(paths):
    """Ids of all tokens that occur."""
    found = set()
    for path in paths:
        with np.load(path) as data:
            for key in ("documents", "last", "instruction"):
                found.update(np.unique(data[key]).tolist())
    return sorted(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("exports", nargs="+")
    parser.add_argument("--wordpiece")
    parser.add_argument("--candidates", type=int, default=0)
    options = parser.parse_args()
    pack(options.out, options.exports, options.wordpiece, options.candidates)
