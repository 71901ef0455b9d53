"""Arrays of lists and documents: what training reads."""

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

    def __len__(self):
        return len(self.offsets) - 1

    def arrays(self, name):
        return {name: np.array(self.values, dtype=np.uint16), f"{name}_offsets": np.array(self.offsets, dtype=np.int64)}


class Packer:
    """Collects sets of documents and lists; word pieces are those of the embedding models."""

    def __init__(self, wordpiece, frame):
        """frame: tokens before a document's title, and the newline that ends the title."""
        from tokenizers import Tokenizer
        self.tokenizer = Tokenizer.from_file(wordpiece)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)
        self.documents, self.words = Flat(), Flat()
        self.last, self.signals, self.query_words = Flat(), Flat(), Flat()
        self.rows, self.names, self.ranges, self.meta = [], [], [], []
        self.texts, self.queries = [], []
        self.instruction = None
        self.frame = frame

    def begin(self, name, instruction):
        if self.instruction and self.instruction != instruction:
            raise SystemExit(f"{name} was made with another prompt")
        self.instruction = instruction
        self.names.append(name)
        self.first = len(self.documents)
        self.number = {}

    def document(self, key, title, text, tokens):
        self.number[key] = self.documents.add(tokens)
        self.texts.append((title + " " + text).strip()[:8192])

    def list(self, key, query, tokens, signals, candidates, ideal):
        self.last.add(tokens)
        self.signals.add(signals)
        self.rows.append([(self.number[c[0]], c[2], -2.0 if c[4] is None else c[4], c[5]) for c in candidates])
        self.meta.append((key, len(self.names) - 1, ideal))
        self.queries.append(query)

    def end(self):
        self.ranges.append((self.first, len(self.documents)))
        for texts, flat in ((self.texts, self.words), (self.queries, self.query_words)):
            for start in range(0, len(texts), 1000):
                for encoding in self.tokenizer.encode_batch(texts[start:start + 1000]):
                    flat.add(encoding.ids)
            texts.clear()
        print(self.names[-1], len(self.documents) - self.first, "documents,",
              sum(m[1] == len(self.names) - 1 for m in self.meta), "lists", flush=True)

    def export(self, path):
        """Reads what `attune evaluate export` wrote."""
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            for line in stream:
                item = json.loads(line)
                if item["kind"] == "header":
                    self.begin(f"{item['dataset']}/{item['split']}", item["instruction"])
                    self.position = item["lastPosition"]
                elif item["kind"] == "document":
                    self.document(item["id"], item["title"], item["text"], item["tokens"])
                else:
                    self.list(item["id"], item["query"], item["tokens"], item["signals"], item["candidates"],
                              item.get("ideal", []))
        self.end()

    def also(self, name):
        """Begins another set of lists over the documents of the set before."""
        self.names.append(name)
        self.ranges.append(self.ranges[-1])

    def queries_end(self):
        for encoding in self.tokenizer.encode_batch(self.queries):
            self.query_words.add(encoding.ids)
        self.queries.clear()
        print(self.names[-1], sum(m[1] == len(self.names) - 1 for m in self.meta), "lists", flush=True)

    def write(self, out):
        longest = max(map(len, self.rows))

        def padded(column, fill, dtype):
            array = np.full((len(self.rows), longest), fill, dtype=dtype)
            for i, row in enumerate(self.rows):
                array[i, :len(row)] = [c[column] for c in row]
            return array

        ideal = np.zeros((len(self.rows), 10), dtype=np.uint8)
        for i, (_, _, values) in enumerate(self.meta):
            ideal[i, :len(values)] = values
        np.savez_compressed(
            out, rows=padded(0, -1, np.int32), scores=padded(1, 0, np.float32), dense=padded(2, -2, np.float16),
            grades=padded(3, 0, np.uint8), ideal=ideal, ids=np.array([m[0] for m in self.meta]),
            sets=np.array([m[1] for m in self.meta], dtype=np.uint8), names=np.array(self.names),
            set_documents=np.array(self.ranges, dtype=np.int64), instruction=np.array(self.instruction, dtype=np.int32),
            last_position=np.array(getattr(self, "position", 2048)), frame=np.array(self.frame, dtype=np.int32),
            **self.documents.arrays("documents"), **self.words.arrays("document_words"), **self.last.arrays("last"),
            **self.signals.arrays("signals"), **self.query_words.arrays("query_words"))


def used_tokens(path):
    """Ids of all tokens that occur."""
    with np.load(path) as data:
        return np.unique(np.concatenate([data[k].astype(np.int64) for k in ("documents", "last", "instruction")]))
