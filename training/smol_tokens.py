"""The blocks of a ranking prompt as the Java service makes them (BlockPrompt), from the tokenizer of a GGUF file.

Needs: tokenizers, numpy. `check` compares with an export: python smol_tokens.py MODEL.gguf EXPORT.jsonl.gz
"""

import gzip
import json
import sys
import unicodedata

from tokenizers import Tokenizer, models, pre_tokenizers

from gguf_file import read_gguf

INSTRUCTION = ("<|im_start|>system\nYou rank documents by how well they answer a query.<|im_end|>\n<|im_start|>user\n"
               "Read the documents. Then name the one that answers the query best.\n\n")
DOCUMENT, MEMORY, QUERY = "Document\nTitle:", "About the user:\n", "Query:"
ANSWER = "<|im_end|>\n<|im_start|>assistant\nFinal Answer: ["
DOCUMENT_TOKENS, QUERY_TOKENS, MEMORY_TOKENS, LONGEST_WORD, CHARACTERS_PER_TOKEN = 160, 96, 96, 32, 12


def words(text, limit):
    out, gap, size, i = [], False, 0, 0
    for i, c in enumerate(text):
        if size >= limit:
            break
        if c.isspace() or unicodedata.category(c) in ("Cc", "Zs", "Zl", "Zp"):
            gap = bool(out)
            continue
        if gap:
            out.append(" ")
            size += 1
            gap = False
        out.append("\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c)
        size += 1 if ord(c) < 0x10000 else 2
    else:
        return "".join(out)
    result = "".join(out)
    last = result.rfind(" ")
    return result[:last] if last > limit / 2 else result


class Blocks:
    def __init__(self, gguf):
        metadata, _ = read_gguf(gguf, arrays=True)
        tokens = metadata["tokenizer.ggml.tokens"]
        merges = [tuple(m.split(" ")) for m in metadata["tokenizer.ggml.merges"]]
        self.tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
        self.tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
        self.controls = {t: i for i, (t, kind) in enumerate(zip(tokens, metadata["tokenizer.ggml.token_type"])) if kind == 3}
        self.starts = [t.startswith("\u0120") for t in tokens]
        self.instruction = self.with_controls(INSTRUCTION)
        self.document_frame, self.newline, self.blank, self.memory_frame, self.query_frame, self.answer = map(
            self.with_controls, (DOCUMENT, "\n", "\n\n", MEMORY, QUERY, ANSWER))

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def with_controls(self, text):
        ids = []
        while text:
            at, control = min(((text.find(c), c) for c in self.controls if c in text), default=(len(text), None))
            ids += self.encode(text[:at]) if at else []
            if control is None:
                break
            ids.append(self.controls[control])
            text = text[at + len(control):]
        return ids

    def cut(self, text, budget):
        text = words(text, budget * CHARACTERS_PER_TOKEN)
        if not text or budget <= 0:
            return []
        ids = self.encode(" " + text)
        if len(ids) <= budget:
            return ids
        for end in range(budget, max(0, budget - LONGEST_WORD), -1):
            if self.starts[ids[end]]:
                return ids[:end]
        return ids[:budget]

    def document(self, title, text):
        room = DOCUMENT_TOKENS - len(self.document_frame) - len(self.newline) - len(self.blank)
        title = self.cut(title, room // 2)
        return self.document_frame + title + self.newline + self.cut(text, room - len(title)) + self.blank

    def last(self, query, memory=()):
        """Tokens, and the indices of those of the query."""
        ids = []
        room = MEMORY_TOKENS - len(self.memory_frame)
        lines = []
        for line in memory:
            line = self.cut("- " + line, MEMORY_TOKENS) + self.newline
            if len(line) > room:
                break
            room -= len(line)
            lines += line
        if lines:
            ids += self.memory_frame + lines
        ids += self.query_frame
        cut = self.cut(query, QUERY_TOKENS)
        end = len(ids) + len(cut)
        return ids + cut + self.answer, list(range(end - max(1, len(cut)), end))


def check(gguf, export):
    blocks = Blocks(gguf)
    count = 0
    for line in gzip.open(export, "rt"):
        item = json.loads(line)
        if item["kind"] == "header":
            assert item["instruction"] == blocks.instruction, (item["instruction"], blocks.instruction)
        elif item["kind"] == "document":
            assert item["tokens"] == blocks.document(item["title"], item["text"]), item
        else:
            assert [item["tokens"], item["signals"]] == list(blocks.last(item["query"])), item
        count += 1
    print(count, "lines agree")


if __name__ == "__main__":
    check(*sys.argv[1:])
