"""Compares masses of the Java engine with this code's, list by list.

Usage: python check_scores.py MODEL.gguf EXPORT.jsonl.gz [ADAPTER.safetensors]

The export comes from `attune evaluate export --masses`, with the same adapter in Java, or none, and with all tokens or some
(`attune.ranking.kept-tokens`). Fails when other tokens are kept or a mass differs by more than 1e-3; the masses of a list
sum to 1.
"""

import gzip
import json
import sys

import numpy as np
import torch

from batches import kept_tokens
from blockrank import BlockRank, Weights
from smol_tokens import Blocks


def kept_of(gguf, items, share):
    """Kept tokens by document, after a comparison with the export's."""
    blocks = Blocks(gguf)
    start, newline = len(blocks.document_frame), blocks.newline[0]
    found = {}
    for item in (i for i in items if i["kind"] == "document"):
        tokens = np.array([item["tokens"]])
        end = item["tokens"].index(newline, start)
        kept, there = kept_tokens(tokens, np.array([tokens.shape[1]]), start, np.array([end]), share)
        found[item["id"]] = sorted(kept[0][there[0]].tolist())
        if found[item["id"]] != item["kept"]:
            raise SystemExit(f"{item['id']} keeps {item['kept']} in Java and {found[item['id']]} here")
    print(len(found), "documents keep the same tokens")
    return found


def main(gguf, export, adapter=None):
    items = [json.loads(line) for line in gzip.open(export, "rt")]
    header = items[0]
    model = BlockRank(Weights.of_gguf(gguf, header["layer"]), header["layer"], 16 if adapter else 0, 32)
    model.round_kept = True
    if adapter:
        from safetensors.torch import load_file
        model.load_adapter(load_file(adapter))
    documents = {i["id"]: i["tokens"] for i in items if i["kind"] == "document"}
    share = header.get("keptShare", 1)
    if share < 1:
        visible_of = kept_of(gguf, items, share)
    worst = 0
    with torch.no_grad():
        model.merge()
        prefix = model.read(torch.tensor([header["instruction"]]), 0)
        for item in (i for i in items if i["kind"] == "list"):
            tokens = [documents[c[0]] for c in item["candidates"]]
            width = max(map(len, tokens))
            ids = torch.zeros(len(tokens), width, dtype=torch.long)
            present = torch.zeros(len(tokens), width, dtype=torch.bool)
            for i, t in enumerate(tokens):
                ids[i, :len(t)] = torch.tensor(t)
                present[i, visible_of[item["candidates"][i][0]] if share < 1 else slice(len(t))] = True
            last = torch.tensor([item["tokens"]])
            signals = torch.tensor([item["signals"]])
            kept = model.read(ids, len(header["instruction"]), prefix)
            visible = present.view(1, -1)
            logits = model.logits(last, header["lastPosition"], prefix, kept, visible, signals)
            mass = model.masses(logits, torch.ones_like(signals), visible, len(tokens))[0].numpy()
            java = np.array(item["masses"])
            difference = float(np.abs(mass - java).max())
            worst = max(worst, difference)
            print(item["id"], "largest difference", f"{difference:.1e}", "masses", mass[:4].round(5), java[:4].round(5))
    if worst > 1e-3:
        raise SystemExit(f"they differ by {worst:.1e}")
    print(f"agree within {worst:.1e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
