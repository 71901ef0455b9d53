"""Embeddings of documents and queries: bge-small-en-v1.5 and e5-small-v2 (both MIT), whose similarities the ranking
adapter learns from, and all-MiniLM-L6-v2, the service's own retriever, where its vectors are not at hand.

Usage: python teacher.py extract MODEL.onnx OUT.npz                (needs onnx; int8 or fp32 file of the langchain4j jar)
       python teacher.py embed bge|e5|minilm MODEL.npz DATA.npz OUT.npz   (needs torch)
"""

import sys

import numpy as np

HEADS, SIZE = 12, 384
LAYERS = {"bge": 12, "e5": 12, "minilm": 6}
#: word pieces before queries and documents, after [CLS]: "Represent this sentence for searching relevant passages:",
#: "query:", "passage:"
QUERY_PREFIX = {"bge": (5050, 2023, 6251, 2005, 6575, 7882, 13768, 1024), "e5": (23032, 1024), "minilm": ()}
DOCUMENT_PREFIX = {"bge": (), "e5": (6019, 1024), "minilm": ()}


def extract(path, out):
    import onnx
    from onnx import numpy_helper
    graph = onnx.load(path).graph
    constants = {t.name: t for t in graph.initializer}
    arrays = {}
    producer = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        # A linear layer in fp32: its bias has the real name, its matrix is found through the graph.
        if node.op_type == "Add":
            bias = next((i for i in node.input if i in constants and i.endswith(".bias")), None)
            source = producer.get(next((i for i in node.input if i != bias), ""))
            if bias and source is not None and source.op_type == "MatMul":
                matrix = next(i for i in source.input if i in constants)
                arrays[bias.removesuffix("bias") + "weight"] = numpy_helper.to_array(constants[matrix]).T.astype(np.float16)
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        name = f"embeddings.{name}.weight"
        if name in constants:
            values = numpy_helper.to_array(constants[name])
            scale = np.abs(values).max(1) / 127
            arrays[name + "_quantized"] = np.rint(values / scale[:, None]).astype(np.int8)
            arrays[name + "_scale"], arrays[name + "_zero_point"] = scale, np.zeros_like(scale)
    for name, tensor in constants.items():
        if name.endswith("weight_quantized") or name.endswith((".bias", "LayerNorm.weight")):
            arrays[name] = numpy_helper.to_array(tensor)
            base = name.removesuffix("_quantized")
            if base != name:
                for part in ("_scale", "_zero_point"):
                    arrays[base + part] = numpy_helper.to_array(constants[base + part])
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            name = node.name.removeprefix("/").removesuffix("/MatMul_quant").replace("/", ".") + ".weight"
            base = node.input[1].removesuffix("_quantized")
            arrays[name + "_quantized"] = numpy_helper.to_array(constants[node.input[1]]).T
            for part in ("_scale", "_zero_point"):
                arrays[name + part] = numpy_helper.to_array(constants[base + part])
    np.savez_compressed(out, **arrays)


class Teacher:
    def __init__(self, kind, model):
        import torch
        self.kind = kind
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        half = torch.float16 if self.device == "cuda" else torch.float32
        self.weights = {}
        with np.load(model) as arrays:
            for key in arrays.files:
                if key.endswith("_quantized"):
                    base = key.removesuffix("_quantized")
                    values = torch.from_numpy(arrays[key].astype(np.float32))
                    scale = torch.from_numpy(np.atleast_1d(arrays[base + "_scale"]).astype(np.float32))
                    zero = torch.from_numpy(np.atleast_1d(arrays[base + "_zero_point"]).astype(np.float32))
                    self.weights[base] = ((values - zero[:, None]) * scale[:, None]).to(self.device, half)
                elif not key.endswith(("_scale", "_zero_point")):
                    self.weights[key] = torch.from_numpy(arrays[key].astype(np.float32)).to(self.device, half)

    def forward(self, ids, mask):
        import torch.nn.functional as F
        weights = self.weights

        def linear(x, name):
            return F.linear(x, weights[name + ".weight"], weights[name + ".bias"])

        def norm(x, name):
            return F.layer_norm(x, (SIZE,), weights[name + ".weight"], weights[name + ".bias"], 1e-12)

        x = (weights["embeddings.word_embeddings.weight"][ids]
             + weights["embeddings.position_embeddings.weight"][:ids.shape[1]]
             + weights["embeddings.token_type_embeddings.weight"][0])
        x = norm(x, "embeddings.LayerNorm")
        for i in range(LAYERS[self.kind]):
            layer = f"encoder.layer.{i}"
            q, k, v = (linear(x, f"{layer}.attention.self.{part}").view(*ids.shape, HEADS, -1).transpose(1, 2)
                       for part in ("query", "key", "value"))
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None]).transpose(1, 2).flatten(2)
            x = norm(x + linear(y, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
            y = linear(F.gelu(linear(x, f"{layer}.intermediate.dense")), f"{layer}.output.dense")
            x = norm(x + y, f"{layer}.output.LayerNorm")
        x = x.float()
        pooled = x[:, 0] if self.kind == "bge" else (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return F.normalize(pooled, dim=-1)

    def vectors(self, values, offsets, prefix):
        """Vectors of sequences of word pieces, [CLS] and [SEP] included, in fp32 on the device."""
        import torch
        values = values.astype(np.int64)
        lengths = np.minimum(np.diff(offsets) + len(prefix), 256)
        order = np.argsort(lengths, kind="stable")
        vectors = torch.zeros(len(lengths), SIZE, device=self.device)
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and (end - start + 1) * lengths[order[end]] <= 65536:
                end += 1
            batch = order[start:end]
            ids = np.zeros((len(batch), int(lengths[batch].max())), dtype=np.int64)
            for row, i in enumerate(batch):
                words = values[offsets[i]:offsets[i + 1]]
                ids[row, :lengths[i]] = np.concatenate([words[:1], prefix, words[1:]])[:lengths[i]]
            mask = torch.arange(ids.shape[1]) < torch.from_numpy(lengths[batch])[:, None]
            with torch.no_grad():
                vectors[torch.from_numpy(batch).to(self.device)] = self.forward(
                    torch.from_numpy(ids).to(self.device), mask.to(self.device))
            start = end
        return vectors

    def documents(self, arrays):
        return self.vectors(arrays["document_words"], arrays["document_words_offsets"],
                            np.array(DOCUMENT_PREFIX[self.kind], dtype=np.int64))

    def queries(self, arrays):
        return self.vectors(arrays["query_words"], arrays["query_words_offsets"],
                            np.array(QUERY_PREFIX[self.kind], dtype=np.int64))


def embed(kind, model, data, out):
    teacher = Teacher(kind, model)
    with np.load(data) as arrays:
        results = {name: getattr(teacher, name)(arrays).cpu().numpy().astype(np.float16)
                   for name in ("documents", "queries")}
    np.savez(out, **results)
    print({k: v.shape for k, v in results.items()})


if __name__ == "__main__":
    {"extract": extract, "embed": embed}[sys.argv[1]](*sys.argv[2:])
