"""Writes the text of each token of a GGUF file as JSON: python token_texts.py MODEL.gguf OUT.json"""

import json
import pathlib
import sys

from gguf_file import read_gguf

from smol_tokens import Blocks


def main(gguf, out):
    blocks = Blocks(gguf)
    from tokenizers import decoders
    blocks.tokenizer.decoder = decoders.ByteLevel()
    count = len(read_gguf(gguf, arrays=True)[0]["tokenizer.ggml.tokens"])
    names = {i: t for t, i in blocks.controls.items()}
    texts = [names.get(i) or blocks.tokenizer.decode([i], skip_special_tokens=False) for i in range(count)]
    pathlib.Path(out).write_text(json.dumps(texts))


if __name__ == "__main__":
    main(*sys.argv[1:])
