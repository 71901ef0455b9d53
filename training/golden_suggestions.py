"""Writes how the adapter for suggestions goes on, greedily and in fp32, for a test of the Java engine.

Usage: python golden_suggestions.py MODEL.gguf ADAPTER.safetensors SUGGESTIONS.npz TEXTS.json OUT.json
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file

from blockrank import Weights
from suggestion_model import Causal, rank_of
from train_suggestions import Examples

EXAMPLES = (3, 100, 1250)
LONGEST = 8
#: below this the two most probable tokens could change places in another arithmetic
MARGIN = 0.3


def main(gguf, adapter, data, texts, out):
    state = load_file(adapter)
    model = Causal(Weights.of_gguf(gguf, 1000), rank_of(state), torch.float32)
    model.load_adapter(state)
    texts = json.loads(pathlib.Path(texts).read_text())
    examples = Examples(data, texts)
    end = texts.index("<|im_end|>")
    golden = []
    with torch.no_grad():
        model.merge()
        for i in EXAMPLES:
            prompt = examples.instruction.tolist() + examples.take("validation", "prompt", i)
            answer, kept = [], None
            while len(answer) < LONGEST and (not answer or answer[-1] != end):
                tokens = answer[-1:] or prompt
                states, new = model.states(torch.tensor([tokens]), len(prompt) + len(answer) - len(tokens), kept)
                kept = new if kept is None else [tuple(torch.cat(pair, 2) for pair in zip(*both)) for both in zip(kept, new)]
                best = (states[0, -1] @ model.embedding.T).topk(2)
                if best.values[0] - best.values[1] < MARGIN:
                    break
                answer.append(int(best.indices[0]))
            if answer:
                golden.append({"prompt": prompt, "answer": answer, "text": "".join(texts[t] for t in answer)})
                print(repr("".join(texts[t] for t in prompt)[-80:]), repr(golden[-1]["text"]), flush=True)
    pathlib.Path(out).write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
