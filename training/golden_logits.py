"""Writes what Hugging Face transformers computes with the default model, for the test GoldenLogitsTest.

Usage: python golden_logits.py MODEL.gguf OUT.json.gz      (needs torch, transformers, gguf, regex)

The same GGUF file is loaded in float32. Token ids come from an independent byte-level BPE written out below, so that
the Java tokenizer is checked too. For every position of ten texts: the five highest logits, and the logits of 64 fixed
pseudo-random ids.
"""

import gzip
import json
import pathlib
import random
import sys

import regex
import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
    "In 1969, Apollo 11 landed on the Moon; 3.14159 is close to pi, and 1,000,000 is a million.",
    "Crème brûlée, naïve façade, Straße, Ångström, señor — “quotes” … and a €5 note.",
    "Emoji 😀🎉👩‍👩‍👧‍👦 and flags 🇫🇷🇯🇵, 中文字符, 日本語のテキスト, русский текст, العربية.",
    "def fib(n):\n    if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)\n\n\nprint([fib(i) for i in range(10)])\n",
    "   leading spaces,\ttabs\tand\n\n\nnewlines;   trailing   ",
    "SELECT u.name, COUNT(*) FROM users u JOIN orders o ON o.user_id = u.id WHERE o.total >= 99.95 GROUP BY 1;",
    "a",
    "Attention lets every token of a sequence look at every token before it. The cost grows with the square of the "
    "length, which is why long documents are read block by block. A search engine that remembers what somebody was "
    "looking for can propose the next question before it is asked; it can also be wrong, and so it must be able to say "
    "why. We've seen that I'll, you'd, they're and don't are split before merging. HTTP/2 and IPv6 aren't words, "
    "neither is x86_64-unknown-linux-gnu. " * 2,
]


def byte_alphabet():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in printable}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(printable))
    return table


class Bpe:
    SPLIT = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

    def __init__(self, reader):
        def texts(key):
            field = reader.fields[key]
            return [bytes(field.parts[i]).decode("utf-8") for i in field.data]

        tokens = texts("tokenizer.ggml.tokens")
        types = [int(reader.fields["tokenizer.ggml.token_type"].parts[i][0])
                 for i in reader.fields["tokenizer.ggml.token_type"].data]
        self.ids = {text: i for i, text in enumerate(tokens)}
        self.rank = {tuple(m.split(" ")): i for i, m in enumerate(texts("tokenizer.ggml.merges"))}
        self.controls = [t for t, kind in zip(tokens, types) if kind == 3]
        self.alphabet = byte_alphabet()

    def word(self, text):
        parts = [self.alphabet[b] for b in text.encode("utf-8")]
        while len(parts) > 1:
            pairs = [(self.rank.get(p, 1 << 60), i) for i, p in enumerate(zip(parts, parts[1:]))]
            rank, i = min(pairs)
            if rank == 1 << 60:
                break
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return [self.ids[p] for p in parts]

    def encode(self, text, controls):
        pieces = regex.split("(" + "|".join(map(regex.escape, self.controls)) + ")", text) if controls else [text]
        ids = []
        for piece in pieces:
            if controls and piece in self.controls:
                ids.append(self.ids[piece])
                continue
            # Every digit stands alone; the rest is split as GPT-2 does.
            for part in regex.split(r"(\p{N})", piece):
                for word in self.SPLIT.findall(part):
                    ids += self.word(word)
        return ids


def main(model_path, out):
    model_path = pathlib.Path(model_path)
    torch.set_num_threads(2)
    bpe = Bpe(GGUFReader(model_path))
    model = AutoModelForCausalLM.from_pretrained(
        model_path.parent, gguf_file=model_path.name, dtype=torch.float32, attn_implementation="eager").eval()
    probes = random.Random(1).sample(range(model.config.vocab_size), 64)
    texts = []
    for text in TEXTS:
        ids = bpe.encode(text, controls=True)
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        top = logits.topk(5)
        texts.append({
            "text": text,
            "ids": ids,
            "plainIds": bpe.encode(text, controls=False),
            "topIds": top.indices.tolist(),
            "topLogits": [[round(v, 5) for v in row] for row in top.values.tolist()],
            "probeLogits": [[round(v, 5) for v in row] for row in logits[:, probes].tolist()],
        })
        print(len(ids), repr(text[:60]), top.indices[-1].tolist())
    with gzip.GzipFile(out, "wb", mtime=0) as stream:
        stream.write(json.dumps({"probeIds": probes, "texts": texts}, separators=(",", ":")).encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
