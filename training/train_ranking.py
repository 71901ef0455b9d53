"""Trains the BlockRank adapter.

Usage: python train_ranking.py --weights W.npz ... --data DATA.npz --teacher T.npz --out DIR [--seconds 300] ...

Loss of a list of 30 documents: InfoNCE with several positives on the logarithm of the documents' masses, and the
Kullback-Leibler divergence from the softmax of the teacher's similarities. In part of the batches the last block sees
only some tokens of each document, chosen as documents are stored. Seeded; --resume goes on from DIR/checkpoint-*.
"""

import argparse
import json
import math
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F

import metrics
from blockrank import BlockRank, Weights

#: share of the lists, weight of the teacher, whether unjudged neighbours may be relevant
SOURCES = {
    "movies/train": (0.24, 0.3, False),
    "scifact/train": (0.12, 0.7, False),
    "scifact-cloze/train": (0.28, 1.0, True),
    "movies-cloze/train": (0.08, 1.0, True),
    "entities/train": (0.08, 0.7, True),
    "conversations/train": (0.08, 1.0, True),
    "dictionary/train": (0.14, 1.0, True),
}


#: the query's last token and the answer's bracket, as in the paper; all tokens of the query
KINDS = ("answer", "query")


class Lists:
    def __init__(self, path, teacher, device):
        with np.load(path) as data:
            self.arrays = {k: data[k] for k in data.files}
        a = self.arrays
        self.names = [str(n) for n in a["names"]]
        self.positions = int(a["last_position"])
        self.document_vectors = self.query_vectors = None
        if teacher:
            with np.load(teacher) as data:
                self.document_vectors = torch.from_numpy(data["documents"]).to(device, torch.float32)
                self.query_vectors = torch.from_numpy(data["queries"]).to(device, torch.float32)
        self.lengths = np.diff(a["documents_offsets"])
        self.documents_of = a["set_documents"]

    def of(self, name):
        return np.flatnonzero(self.arrays["sets"] == self.names.index(name)) if name in self.names else np.array([], int)

    def mine(self, depth=100):
        """Nearest documents of each list's collection to its query."""
        self.mined = {}
        for name in SOURCES:
            lists = self.of(name)
            if not len(lists):
                continue
            low, high = self.documents_of[self.names.index(name)]
            for start in range(0, len(lists), 512):
                part = lists[start:start + 512]
                similar = self.query_vectors[torch.from_numpy(part).to(self.query_vectors.device)] @ \
                    self.document_vectors[low:high].T
                top = similar.topk(min(depth, high - low), 1).indices.cpu().numpy() + low
                for i, row in zip(part, top):
                    self.mined[int(i)] = row

    def sample(self, i, rng, documents):
        """Documents of a training list in random order, and their grades."""
        a = self.arrays
        rows, grades = a["rows"][i], a["grades"][i]
        there = rows >= 0
        rows, grades = rows[there], grades[there]
        positives = rows[grades > 0]
        if len(positives) > 6:
            positives = rng.choice(positives, 6, replace=False)
        taken = set(rows[grades > 0].tolist())
        hard = [r for r in rows[grades == 0].tolist() if r not in taken][:40]
        taken.update(hard)
        mined = self.mined.get(int(i), np.array([], int)).tolist() if self.document_vectors is not None else []
        near = [r for r in mined[:30] if r not in taken]
        far = [r for r in mined[30:] if r not in taken]
        rng.shuffle(near)
        rng.shuffle(far)
        # The first candidates matter most: they are taken more often.
        hard = [hard[j] for j in np.argsort(rng.random(len(hard)) * (np.arange(len(hard)) + 10))]
        room = documents - len(positives)
        chosen = hard[:room * 4 // 10] + near[:room * 3 // 10] + far[:room // 10]
        low, high = self.documents_of[a["sets"][i]]
        while len(chosen) < room:
            r = int(rng.integers(low, high))
            if r not in taken:
                chosen.append(r)
        chosen = np.array(positives.tolist() + chosen[:room])
        labels = np.zeros(documents, bool)
        labels[:len(positives)] = True
        shuffled = rng.permutation(documents)
        return chosen[shuffled], labels[shuffled]

    def blocks(self, rows, longest):
        """Padded tokens [documents, tokens] and which are there; tokens in multiples of 8."""
        a = self.arrays
        lengths = np.minimum(self.lengths[rows], longest)
        width = (int(lengths.max()) + 7) // 8 * 8
        tokens = np.zeros((len(rows), width), np.int64)
        for j, r in enumerate(rows):
            start = a["documents_offsets"][r]
            tokens[j, :lengths[j]] = a["documents"][start:start + lengths[j]]
        return tokens, np.arange(width) < lengths[:, None]

    def last(self, indices):
        """Last blocks, padded at the end (what is there never sees it), and the signal tokens of each of KINDS."""
        a = self.arrays
        lengths = np.diff(a["last_offsets"])[indices]
        width = (int(lengths.max()) + 7) // 8 * 8
        tokens = np.zeros((len(indices), width), np.int64)
        signals = np.zeros((len(KINDS), len(indices), width), bool)
        for j, i in enumerate(indices):
            tokens[j, :lengths[j]] = a["last"][a["last_offsets"][i]:a["last_offsets"][i + 1]]
            query = a["signals"][a["signals_offsets"][i]:a["signals_offsets"][i + 1]]
            signals[0, j, [query[-1], lengths[j] - 1]] = True
            signals[1, j, query] = True
        return tokens, signals


def keep(keys, gate, present, share):
    """
    The tokens of a document to keep: those that an average signal token attends to most, at least one in ten.

    keys: [documents, kv heads, tokens, head size] at the scoring layer; gate: [heads, head size]
    """
    d, kv, tokens, size = keys.shape
    weight = gate.view(kv, -1, size).sum(1)
    score = torch.einsum("dktx,kx->dt", keys.float(), weight).masked_fill(~present, -torch.inf)
    count = (present.sum(1) * share).ceil().clamp(min=1).long()
    rank = score.argsort(1, descending=True).argsort(1)
    return (rank < count[:, None]) & present


def run(model, lists, rows, indices, longest, device, gate, shares):
    """For each share of kept tokens, the masses [kinds, lists, documents]; and the mean query of signal tokens."""
    tokens, present = lists.blocks(rows.ravel(), longest)
    last, signals = lists.last(indices)
    tokens, present, last, signals = (torch.from_numpy(x).to(device, non_blocking=True)
                                      for x in (tokens, present, last, signals))
    instruction = torch.from_numpy(lists.arrays["instruction"].astype(np.int64)).to(device)[None]
    model.merge()
    prefix = model.read(instruction, 0)
    documents = model.read(tokens, instruction.shape[1], prefix)
    results = []
    for s in shares:
        visible = present
        if s < 1:
            with torch.no_grad():
                visible = keep(documents[-1][0], gate, present, s)
        visible = visible.view(len(indices), -1)
        queries, logits = model.logits(last, lists.positions, prefix, documents, visible)
        results.append(torch.stack([model.masses(logits, kind, visible, rows.shape[1]) for kind in signals]))
    with torch.no_grad():
        weight = signals.float().sum(0)
        mean = (queries.float() * weight[:, None, :, None]).sum((0, 2)) / weight.sum()
    return results, mean


def loss_of(mass, labels, teacher, weight, forgiving):
    """Mean over lists; teacher: similarities [lists, documents] or None."""
    logs = mass.clamp(min=1e-9).log()
    negatives = ~labels
    if forgiving and teacher is not None:
        best = teacher.masked_fill(~labels, -2).amax(1, keepdim=True)
        negatives = negatives & (teacher < best)
    others = logs.masked_fill(~negatives, -torch.inf).logsumexp(1, keepdim=True)
    each = torch.logaddexp(logs, others) - logs
    contrast = ((each * labels).sum(1) / labels.sum(1)).mean()
    if teacher is None or weight == 0:
        return contrast, contrast.detach(), torch.zeros(())
    target = torch.softmax((teacher + 0.1 * labels) / 0.035, 1)
    distill = (target * (target.clamp(min=1e-9).log() - logs)).sum(1).mean()
    return contrast + weight * distill, contrast.detach(), distill.detach()


@torch.no_grad()
def validate(model, lists, limit, device, gate, shares, batch=4):
    """Per validation set: the lists, and for each share and kind their masses."""
    model.eval()
    results = {}
    for name in lists.names:
        if name in SOURCES:
            continue
        indices = lists.of(name)[:limit] if limit else lists.of(name)
        a = lists.arrays
        masses = {(share, kind): [] for share in shares for kind in KINDS}
        order = sorted(indices, key=lambda i: (a["rows"][i] >= 0).sum())
        start = 0
        while start < len(order):
            count = (a["rows"][order[start]] >= 0).sum()
            end = start + 1
            while end < len(order) and end - start < batch and (a["rows"][order[end]] >= 0).sum() == count:
                end += 1
            part = np.array(order[start:end])
            got, _ = run(model, lists, a["rows"][part][:, :count], part, 160, device, gate, shares)
            for share, found in zip(shares, got):
                for kind, mass in zip(KINDS, found.float().cpu().numpy()):
                    masses[share, kind].extend(mass)
            start = end
        results[name] = (np.array(order), masses)
    model.train()
    return results


def summary(lists, results):
    """nDCG@10 of retrieval, BlockRank and fusion, per set, kind of signals and share of kept tokens."""
    table = {}
    a = lists.arrays
    for name, (indices, masses) in results.items():
        retrieval = [metrics.ndcg(np.arange((a["rows"][i] >= 0).sum()), a["grades"][i], a["ideal"][i]) for i in indices]
        row = {"lists": len(indices), "hybrid": round(float(np.mean(retrieval)), 4)}
        both = {s: [(x + y) / 2 for x, y in zip(masses[s, KINDS[0]], masses[s, KINDS[1]])] for s, _ in masses}
        for (share, kind), found in [*masses.items(), *(((s, "both"), v) for s, v in both.items())]:
            def mean(score):
                return round(float(np.mean([
                    metrics.ndcg(metrics.order(score(a["scores"][i][:len(m)], m)), a["grades"][i], a["ideal"][i])
                    for i, m in zip(indices, found)])), 4)
            values = {"alone": mean(lambda retrieval, mass: mass)}
            for form, weight in (("mass", 0.3), ("mass", 1), ("log", 0.5), ("log", 1), ("log", 2), ("zlog", 0.2),
                                 ("zlog", 0.5)):
                values[f"{form} {weight}"] = mean(
                    lambda retrieval, mass: metrics.fused(retrieval, mass, weight, form))
            row[f"{kind}@{share}"] = values
        table[name] = row
    return table


def save(out, model, optimizer, state):
    """Each file stays below 16 MiB: moments are kept in bf16."""
    torch.save({k: v.detach().cpu() for k, v in model.named_parameters()}, out / "checkpoint-parameters.pt")
    moments = {}
    for i, parameter in enumerate(p for p in model.parameters()):
        values = optimizer.state[parameter]
        moments[i] = (values["exp_avg"].bfloat16().cpu(), values["exp_avg_sq"].sqrt().bfloat16().cpu())
    torch.save({"moments": moments, **state}, out / "checkpoint-state.pt")


def resume(out, model, optimizer):
    parameters = torch.load(out / "checkpoint-parameters.pt")
    state = torch.load(out / "checkpoint-state.pt", weights_only=False)
    for name, parameter in model.named_parameters():
        parameter.data.copy_(parameters[name])
    for i, parameter in enumerate(model.parameters()):
        first, second = state["moments"][i]
        optimizer.state[parameter] = {
            "step": torch.tensor(float(state["step"])), "exp_avg": first.to(parameter.device).float(),
            "exp_avg_sq": second.to(parameter.device).float() ** 2}
    return state


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", nargs="+", required=True, help="a GGUF file, or files of pack_weights")
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=300, help="of training, validation apart")
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--planned", type=int, default=0, help="steps of the schedule; 0: by the clock")
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--layer", type=int, default=18)
    parser.add_argument("--lists", type=int, default=8)
    parser.add_argument("--accumulate", type=int, default=2)
    parser.add_argument("--documents", type=int, default=30)
    parser.add_argument("--keep", type=float, default=0.35, help="share of batches with kept tokens only")
    parser.add_argument("--validate", type=float, default=100, help="seconds between validations on a part")
    parser.add_argument("--part", type=int, default=50)
    parser.add_argument("--full", type=int, default=0, help="lists per set in the last validation, 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    began = time.time()
    lists = Lists(options.data, options.teacher, device)
    if options.teacher:
        lists.mine()
    weights = (Weights.of_gguf(options.weights[0], options.layer) if options.weights[0].endswith(".gguf")
               else Weights.of_packed(options.weights))
    model = BlockRank(weights, options.layer, options.rank, 2 * options.rank, dtype).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=0.0, betas=(0.9, 0.98))
    names = [n for n in SOURCES if len(lists.of(n))]
    shares = np.array([SOURCES[n][0] for n in names])
    shares /= shares.sum()
    log = {"options": {k: str(v) for k, v in vars(options).items()}, "steps": [], "validation": [],
           "lists": {n: len(lists.of(n)) for n in lists.names}}
    gate = torch.zeros(weights.heads, weights.head_size, device=device)
    step, spent, checkpointed, validated = 0, 0.0, 0.0, 0.0
    if options.resume:
        state = resume(options.out, model, optimizer)
        step, spent, gate, log = state["step"], state["spent"], state["gate"].to(device), state["log"]
        checkpointed = validated = spent
        rng = np.random.default_rng([options.seed, step])
    orders = {n: [] for n in names}
    kept_shares = (1.0, 0.1)
    print(f"{time.time() - began:.1f} s of preparation;", {n: len(lists.of(n)) for n in lists.names}, flush=True)
    running, sums = time.time(), []
    while step < options.steps and spent < options.seconds:
        progress = step / options.planned if options.planned else spent / options.seconds
        rate = options.rate * min(1, (step + 1) / 30) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1, progress))))
        for group in optimizer.param_groups:
            group["lr"] = rate
        for _ in range(options.accumulate):
            name = str(rng.choice(names, p=shares))
            if len(orders[name]) < options.lists:
                orders[name] = rng.permutation(lists.of(name)).tolist()
            indices = np.array([orders[name].pop() for _ in range(min(options.lists, len(orders[name])))])
            sampled = [lists.sample(i, rng, options.documents) for i in indices]
            rows = np.stack([s[0] for s in sampled])
            labels = torch.from_numpy(np.stack([s[1] for s in sampled])).to(device)
            longest = int(rng.choice([160, 112, 64], p=[0.6, 0.25, 0.15]))
            share = float(rng.choice([0.1, 0.2, 0.35])) if step > 50 and rng.random() < options.keep else 1.0
            (masses,), mean = run(model, lists, rows, indices, longest, device, gate, [share])
            gate = mean if step == 0 else 0.98 * gate + 0.02 * mean
            teacher = None
            if options.teacher:
                queries = lists.query_vectors[torch.from_numpy(indices).to(device)]
                vectors = lists.document_vectors[torch.from_numpy(rows.ravel()).to(device)].view(*rows.shape, -1)
                teacher = torch.einsum("lx,ldx->ld", queries, vectors)
            _, weight, forgiving = SOURCES[name]
            parts = [loss_of(mass, labels, teacher, weight, forgiving) for mass in masses]
            (sum(p[0] for p in parts) / (len(parts) * options.accumulate)).backward()
            contrast, distill = parts[0][1], parts[0][2]
            sums.append((name, contrast, distill, share))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % 20 == 0:
            spent += time.time() - running
            running = time.time()
            point = {"step": step, "seconds": round(spent, 1), "rate": rate}
            for n in names:
                found = [(float(c), float(d)) for m, c, d, _ in sums if m == n]
                if found:
                    point[n.split("/")[0]] = [round(float(x), 4) for x in np.mean(found, 0)]
            log["steps"].append(point)
            sums = []
            if step % 100 == 0 or step == 20:
                print(json.dumps(point), flush=True)
            if spent - checkpointed > 60:
                checkpointed = spent
                save(options.out, model, optimizer, {"step": step, "spent": spent, "gate": gate.cpu(), "log": log})
            if spent - validated > options.validate:
                validated = spent
                table = summary(lists, validate(model, lists, options.part, device, gate, kept_shares))
                log["validation"].append({"step": step, **table})
                for name, row in table.items():
                    print(step, name, row["hybrid"], {k: row[k + "@1.0"] for k in KINDS}, flush=True)
            running = time.time()
    try:
        from safetensors.torch import save_file
        save_file(model.adapter(), options.out / "adapter_model.safetensors")
    except ImportError:
        torch.save(model.adapter(), options.out / "adapter_model.pt")
    np.save(options.out / "gate.npy", gate.cpu().numpy())
    results = validate(model, lists, options.full, device, gate, kept_shares)
    table = summary(lists, results)
    log["validation"].append({"step": step, **table})
    log["seconds"] = time.time() - began
    (options.out / "training-log.json").write_text(json.dumps(log))
    arrays = {}
    for name, (indices, masses) in results.items():
        arrays[f"{name}|lists"] = indices
        for (share, kind), found in masses.items():
            arrays[f"{name}|{kind}|{share}"] = np.array([np.pad(m, (0, 200 - len(m))) for m in found])
    np.savez_compressed(options.out / "validation.npz", **arrays)
    for name, row in table.items():
        print(name, row["lists"], "hybrid", row["hybrid"])
        for key, values in row.items():
            if isinstance(values, dict):
                print("   ", key, values)


if __name__ == "__main__":
    main()
