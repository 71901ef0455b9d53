"""Writes how the adapter for suggestions goes on, greedily and in fp32, for a test of the Java engine.

Usage: python golden_suggestions.py MODEL.gguf ADAPTER.safetensors SUGGESTIONS.npz TEXTS.json OUT.json
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file

from blockrank import Weights
from train_suggestions import Causal, Examples

EXAMPLES = (3, 100)
LONGEST = 8
#: below this the two most probable tokens could change places in another arithmetic
MARGIN = 0.3


def main(gguf, adapter, data, texts, out):
    state = load_file(adapter)
    model = Causal(Weights.of_gguf(gguf, 1000), 8, 16, torch.float32)
    model.load_adapter(state)
    for lora in model.maps.values():
        lora.merge()
    examples = Examples(data)
    texts = json.loads(pathlib.Path(texts).read_text())
    end = texts.index("<|im_end|>")
    instruction = examples.arrays["instruction"].tolist()
    golden = []
    with torch.no_grad():
        for i in EXAMPLES:
            prompt = instruction + examples.take("validation", "prompt", i).tolist()
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
