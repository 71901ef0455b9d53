"""Trains the BlockRank adapter.

Usage: python train_ranking.py --weights W.npz ... --data DATA.npz --teachers bge=B.npz e5=E.npz --out DIR [--seconds 300]

Loss of a list: InfoNCE with several positives on the logarithm of the documents' masses, the Kullback-Leibler divergence
from the softmax of the teachers' similarities, and the square of what length explains in the masses beyond what it
explains in those similarities. In most batches the last block reads the documents a second time as they are stored: some
tokens of each, in half of these batches in eight bits; there the masses of the first reading are a target too. With
--anchor, the target of both readings is what that adapter sees with all tokens instead, less what length explains. Seeded;
--resume goes on from DIR/checkpoint-*.
"""

import argparse
import json
import math
import pathlib
import queue
import threading
import time

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from batches import SHARPNESS, SOURCES, WIDTHS, Lists, Sampler
from blockrank import BlockRank, Weights, layer
from teacher import Teacher
from validation import of_teachers, summary, validate


#: power of a document's length that the anchor's masses are divided by
ANCHOR_LENGTH = 0.15


def prefix_of(model, lists, device):
    """The instruction block, padded to a multiple of 8 tokens, and how many are there."""
    tokens = torch.from_numpy(lists.arrays["instruction"].astype(np.int64)).to(device)[None]
    there = tokens.shape[1]
    prefix = model.read(tokens, 0)
    room = -there % 8
    return [tuple(torch.nn.functional.pad(x, (0, 0, 0, room)) if x is not None else None for x in pair)
            for pair in prefix], there


def in_eight_bits(documents, present):
    """Keys with one scale per channel of a document, values with one per token; gradients pass unchanged."""
    def rounded(x, axis):
        x = x.detach().float()
        there = x.masked_fill(~present[:, None, :, None], 0)
        scale = there.abs().amax(axis, keepdim=True).clamp(min=1e-8) / 127
        return (x / scale).round().clamp(-127, 127) * scale

    def coded(x, axis):
        return x + (rounded(x, axis).to(x.dtype) - x).detach()

    return [(coded(k, 2), None if v is None else coded(v, 3)) for k, v in documents]


def run(model, lists, batch, views):
    """Masses [lists, documents] for each view: (share of kept tokens or None, whether in eight bits)."""
    model.merge()
    prefix, there = prefix_of(model, lists, batch.tokens.device)
    read = model.read(batch.tokens, there, prefix, there)
    count = batch.rows.shape[1]
    results = []
    for share, int8 in views:
        documents = in_eight_bits(read, batch.present) if int8 else read
        visible = batch.present
        if share is not None:
            tokens, visible = batch.kept[share]
            at = tokens[:, None, :, None].expand(-1, model.shape.kv_heads, -1, model.shape.head_size)
            documents = [(k.gather(2, at), None if v is None else v.gather(2, at)) for k, v in documents]
        visible = visible.reshape(len(batch.indices), -1)
        logits = model.logits(batch.last, lists.positions, prefix, documents, visible, batch.signals, there)
        results.append(model.masses(logits, batch.counted, visible, count))
    return results


def correlation(x, y):
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    return (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1) + 1e-6)


def contrast(logs, positives, negatives):
    """InfoNCE of each positive against the negatives; mean over the lists that have a positive."""
    others = logs.masked_fill(~negatives, -1e4).logsumexp(1, keepdim=True)
    each = torch.logaddexp(logs, others) - logs
    count = positives.sum(1)
    listed = (each * positives).sum(1) / count.clamp(min=1)
    return listed.sum() / (count > 0).sum().clamp(min=1)


def anchored(mass, whole, lengths):
    """Divergence from another adapter's masses with all tokens; roots, because fusion looks at the logarithm: what is a
    hundredth of the first still counts."""
    target = torch.softmax((whole.clamp(min=1e-9).log() - ANCHOR_LENGTH * lengths.log()) / 2, 1)
    return 4 * (target * (target.log() - torch.log_softmax(mass.clamp(min=1e-9).log() / 2, 1))).sum(1).mean()


def loss_of(mass, grades, similar, lengths, weight, forgiving):
    """Parts of the loss of one view; grades and similar [lists, documents]."""
    logs = mass.clamp(min=1e-9).log()
    relevant = grades > 0
    negatives = ~relevant
    if forgiving:
        best = similar.masked_fill(~relevant, -torch.inf).amax(1, keepdim=True)
        negatives = negatives & (similar < best)
    parts = {"contrast": contrast(logs, relevant, negatives)}
    if (grades > 1).any():
        # What the user likes before what is only relevant.
        parts["personal"] = contrast(logs, grades > 1, grades < 2)
    target = torch.softmax(SHARPNESS * similar + 3 * relevant, 1)
    parts["distill"] = weight * (target * (target.clamp(min=1e-9).log() - logs)).sum(1).mean()
    beyond = correlation(logs, lengths) - correlation(similar, lengths)
    parts["length"] = 0.2 * (beyond ** 2).mean()
    return parts


def total(masses, whole, lengths, beside, parts_of):
    """Sum of the losses of one or two readings and their parts by name; whole: the anchor's masses, or None, and beside:
    how much the others count then."""
    parts = parts_of(masses[0])
    if whole is None and len(masses) == 1:
        return sum(parts.values()), parts
    loss, stored = sum(parts.values()), parts_of(masses[-1])
    if whole is not None:
        parts["anchor"] = anchored(masses[0], whole, lengths)
        loss = beside * loss + parts["anchor"]
        if len(masses) > 1:
            parts["stored"], parts["apart"] = stored["contrast"], anchored(masses[1], whole, lengths)
            loss = loss + beside * sum(stored.values()) + parts["apart"]
        return loss, parts
    first = masses[0].detach()
    apart = (first * (first.clamp(min=1e-9).log() - masses[1].clamp(min=1e-9).log())).sum(1).mean()
    parts["stored"], parts["apart"] = stored["contrast"], apart
    return (loss + sum(stored.values()) + apart) / 2, parts


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


def ahead(sampler, depth=6):
    """Batches made on a thread of their own."""
    made = queue.Queue(depth)

    def work():
        while True:
            made.put(sampler.next())

    threading.Thread(target=work, daemon=True).start()
    return made.get


def compiled(model, lists, blocks, device):
    """Compiles the layer for each width, or leaves it as it is where that fails."""
    torch._dynamo.config.recompile_limit = 32
    began = time.time()
    try:
        model.read_layer = torch.compile(layer, dynamic=False)
        for width in WIDTHS:
            model.merge()
            prefix, there = prefix_of(model, lists, device)
            kept = model.read(torch.ones(blocks, width, dtype=torch.long, device=device), there, prefix, there)
            sum(k.float().mean() for k, _ in kept).backward()
            for parameter in model.parameters():
                parameter.grad = None
        print(f"compiled in {time.time() - began:.1f} s", flush=True)
    except Exception as e:  # whatever the compiler has: without it training is only slower
        print("not compiled:", str(e)[:2000], flush=True)
        model.read_layer = layer
    return model.read_layer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", nargs="+", required=True, help="a GGUF file, or files of pack_weights")
    parser.add_argument("--data", required=True)
    parser.add_argument("--teachers", nargs="*", default=[], help="KIND=FILE of teacher.py extract; none with --steps 0")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=400, help="of training, preparation and validation apart")
    parser.add_argument("--until", type=float, default=0, help="end training at this Unix time, if that is earlier")
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--layer", type=int, default=18)
    parser.add_argument("--blocks", type=int, default=480, help="documents in a batch")
    parser.add_argument("--keep", type=float, default=0.6, help="share of batches read as stored too")
    parser.add_argument("--part", type=int, default=30, help="lists per set in the validation half way")
    parser.add_argument("--full", type=int, default=0, help="lists per set in the last validation, 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--eight-bits", action="store_true", help="validate keys and values in eight bits too")
    parser.add_argument("--no-halfway", action="store_true", help="no validation half way")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--start", help="begin with this adapter (safetensors)")
    parser.add_argument("--anchor", help="stay where this adapter is (safetensors)")
    parser.add_argument("--beside", type=float, default=0.3, help="weight of the other losses beside the anchor's")
    parser.add_argument("--prepared", type=pathlib.Path, help="keeps the teachers' vectors and neighbours; used if it is there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    torch.set_float32_matmul_precision("high")
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.manual_seed(options.seed)
    began = time.time()
    lists = Lists(options.data)
    worth = None
    if options.prepared and options.prepared.exists():
        lists.teachers, lists.pools, worth = torch.load(options.prepared, map_location=device, weights_only=False)
    elif options.teachers:
        lists.teach([Teacher(*t.split("=", 1)) for t in options.teachers])
        print(f"{time.time() - began:.1f} s: vectors", flush=True)
        lists.mine()
        worth = of_teachers(lists)
        if options.prepared:
            part = options.prepared.with_suffix(".part")
            torch.save((lists.teachers, lists.pools, worth), part)
            part.rename(options.prepared)
        print(f"{time.time() - began:.1f} s: neighbours; teachers", worth, flush=True)
    weights = (Weights.of_gguf(options.weights[0], options.layer) if options.weights[0].endswith(".gguf")
               else Weights.of_packed(options.weights))
    model = BlockRank(weights, options.layer, options.rank, 2 * options.rank, dtype).to(device)
    fast = compiled(model, lists, options.blocks, device) if options.compile else layer
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=0.0, betas=(0.9, 0.98))
    log = {"options": {k: str(v) for k, v in vars(options).items()}, "steps": [], "validation": [],
           "lists": {n: len(lists.of(n)) for n in lists.names}, "documents": len(lists.lengths),
           "teachers": worth}
    step, spent, seen = 0, 0.0, 0
    if options.start:
        model.load_adapter(load_file(options.start))
    anchor = None
    if options.anchor:
        anchor = BlockRank(weights, options.layer, options.rank, 2 * options.rank, dtype).to(device)
        anchor.load_adapter(load_file(options.anchor))
    if options.resume:
        state = resume(options.out, model, optimizer)
        step, spent, log = state["step"], state["spent"], state["log"]
    checkpointed, halfway = spent, options.no_halfway or spent > options.seconds / 2
    following = ahead(Sampler(lists, [options.seed, step], options.blocks, options.keep)) if options.steps else None
    print(f"{time.time() - began:.1f} s of preparation;", log["lists"], flush=True)
    seconds = options.seconds
    if options.until:
        seconds = min(seconds, spent + options.until - time.time())
    running, sums = time.time(), []
    while step < options.steps and spent < seconds:
        progress = min(1, max(spent / seconds, step / options.steps if options.steps < 100000 else 0))
        rate = options.rate * min(1, (step + 1) / 40) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = following().to(device)
        _, weight, forgiving = SOURCES[batch.name]
        views = [(None, False)] + ([batch.stored] if batch.stored else [])
        masses = run(model, lists, batch, views)
        grades = batch.grades.to(device)
        similar = lists.similarity(batch.indices, batch.rows).float()
        lengths = batch.present.sum(1).float().view(batch.rows.shape)
        whole = None
        if anchor is not None:
            with torch.no_grad():
                whole = run(anchor, lists, batch, [(None, False)])[0]
        loss, parts = total(masses, whole, lengths, options.beside,
                            lambda mass: loss_of(mass, grades, similar, lengths, weight, forgiving))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        sums.append((batch.name, {k: v.detach() for k, v in parts.items()}))
        step += 1
        seen += len(batch.indices)
        if step % 20 == 0 or step == options.steps:
            point = {"step": step, "rate": round(rate, 6)}
            for n in dict.fromkeys(m for m, _ in sums):
                found = [p for m, p in sums if m == n]
                point[n.split("/")[0]] = {k: round(float(np.mean([float(p[k]) for p in found if k in p])), 3)
                                          for k in sorted({k for p in found for k in p})}
            spent += time.time() - running
            running = time.time()
            point["seconds"] = round(spent, 1)
            log["steps"].append(point)
            sums = []
            if step % 200 == 0 or step in (20, 60, 100):
                print(json.dumps(point), flush=True)
            if spent - checkpointed > 100:
                checkpointed = spent
                save(options.out, model, optimizer, {"step": step, "spent": spent, "log": log})
            if not halfway and spent > seconds / 2:
                halfway = True
                model.read_layer = layer
                table = summary(lists, validate(model, lists, run, options.part, device, [(None, False), (0.1, False)]))
                model.read_layer = fast
                log["validation"].append({"step": step, **table})
                for name, row in table.items():
                    print(step, name, row, flush=True)
            running = time.time()
    log["seen"] = log.get("seen", 0) + seen
    if step:
        save(options.out, model, optimizer, {"step": step, "spent": spent, "log": log})
    save_file(model.adapter(), options.out / "adapter_model.safetensors")
    print(f"{time.time() - began:.1f} s: {step} steps, {seen} lists; validation", flush=True)
    model.read_layer = layer
    results = validate(model, lists, run, options.full, device, [
        (None, False), (0.1, False), *([(None, True), (0.1, True)] if options.eight_bits else [])])
    table = summary(lists, results)
    log["validation"].append({"step": step, **table})
    log["seconds"] = time.time() - began
    (options.out / "training-log.json").write_text(json.dumps(log))
    arrays = {}
    for name, (indices, masses) in results.items():
        arrays[f"{name}|lists"] = indices
        for (share, int8), found in masses.items():
            arrays[f"{name}|{share or 1}|{'int8' if int8 else 'bf16'}"] = np.array(
                [np.pad(m, (0, 100 - len(m))) for m in found])
    np.savez_compressed(options.out / "validation.npz", **arrays)
    for name, row in table.items():
        print(name, json.dumps(row))
    print(f"{time.time() - began:.1f} s")


if __name__ == "__main__":
    main()
