#!/usr/bin/env python3
"""Writes reference embeddings of all-MiniLM-L6-v2, computed without this project's Java code.

The weights are read from the ONNX file of the langchain4j jar (so that both sides share them) and run through
`transformers`' own BERT in float32; pooling and cutting follow the model card of sentence-transformers.

    python training/embedding/reference.py JAR > src/test/resources/retrieval/minilm-reference.json

Needs: torch, transformers, tokenizers, onnx.
"""
import json
import sys
import zipfile

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

TEXTS = [
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "space opera with a rebellious princess",
    "Amélie découvre Montmartre",
    "機械学習 🚀 <mark>& \"quotes\"</mark>",
    " ".join(f"word{i} keeps this text longer than the window of the model" for i in range(60)),
]


def main(jar: str) -> None:
    with zipfile.ZipFile(jar) as z:
        model = onnx.load_from_string(z.read("all-minilm-l6-v2.onnx"))
        tokenizer = Tokenizer.from_str(z.read("all-minilm-l6-v2-tokenizer.json").decode())
    tokenizer.enable_truncation(256)
    tokenizer.no_padding()
    bert = BertModel(
        BertConfig(
            vocab_size=30522,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
        ),
        add_pooling_layer=False,
    ).eval()
    bert.load_state_dict(weights(model, bert), strict=True)
    vectors = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            mean = bert(input_ids=ids).last_hidden_state[0].mean(0)
        vectors.append((mean / mean.norm()).numpy())
    rows = [
        {"text": text, "vector": [round(float(x), 6) for x in vector]} for text, vector in zip(TEXTS, vectors)
    ]
    print(json.dumps(rows, ensure_ascii=False, indent=None))


def weights(model: onnx.ModelProto, bert: BertModel) -> dict[str, torch.Tensor]:
    """Names the tensors of the graph as `transformers` does; matrices lie under generated names there."""
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    # A matrix product of a linear layer: its bias has the real name, the matrix is found through the graph.
    producer = {out: node for node in model.graph.node for out in node.output}
    state = {}
    for name, wanted in bert.state_dict().items():
        if name in tensors:
            state[name] = torch.from_numpy(np.array(tensors[name]))
        elif name.endswith(".weight") and name.replace(".weight", ".bias") in tensors:
            bias = name.replace(".weight", ".bias")
            add = next(n for n in model.graph.node if n.op_type == "Add" and bias in n.input)
            product = producer[next(i for i in add.input if i != bias)]
            matrix = next(i for i in product.input if i in tensors)
            state[name] = torch.from_numpy(np.array(tensors[matrix].T))
        elif name == "embeddings.position_ids" or name == "embeddings.token_type_ids":
            state[name] = wanted
        else:
            raise SystemExit(f"no tensor for {name}; the graph has {sorted(tensors)[:20]} ...")
    return state


if __name__ == "__main__":
    main(sys.argv[1])
