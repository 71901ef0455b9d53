"""Trains the adapter for suggestions: the rest of the next query, after context, topic and its first words.

Usage: python train_suggestions.py --weights MODEL.gguf|W.npz ... --data SUGGESTIONS.npz --texts TEXTS.json --out DIR

Next-token loss on the answer and its end, and unlikelihood (arXiv 1908.04319) of all tokens that break the form at a place
(suggestion_form.py): −log(1 − their probability), at each place of the answers and of lines that the adapter of that moment
wrote itself, without any constraint, for prompts of the training part. Seeded.

Judged on the validation part: perplexity a token, of all answers and of those in the form; how often the greedy answer is the
query that followed, and its first token right; how many sampled lines break the form, without any constraint on decoding, with
a bootstrap over prompts. `--steps 0 --start ADAPTER` judges an adapter, `--rank 0` the base weights.
"""

import argparse
import json
import math
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from blockrank import Weights
from suggestion_form import TOKENS, WRONG, BEGINS, ENDS, GOES_ON, Form, fault
from suggestion_model import Causal, rank_of

TEMPERATURE, TOP_P = 0.7, 0.9
#: Own lines are drawn wider than they are judged, so that more of what can go wrong is seen.
OWN_TEMPERATURE, OWN_TOP_P = 1.0, 0.95
#: batches between two times of writing own lines
ROUND = 16


class Examples:
    """Prompts and answers of a file of prepare_suggestions.py."""

    def __init__(self, path, texts):
        with np.load(path) as data:
            self.arrays = {k: data[k] for k in data.files}
        self.texts = texts
        self.instruction = self.arrays["instruction"].astype(np.int64)

    def count(self, where):
        return len(self.arrays[f"{where}_prompt_offsets"]) - 1

    def take(self, where, name, i):
        offsets = self.arrays[f"{where}_{name}_offsets"]
        return self.arrays[f"{where}_{name}"][offsets[i]:offsets[i + 1]].tolist()

    def start(self, prompt):
        """First words of the answer, which stand at the end of the prompt."""
        return "".join(self.texts[t] for t in prompt).rsplit("\n", 1)[1]


class Batch:
    """
    Prompts with answers, padded at the end, and what is asked at which place.

    rows: (prompt, answer, places of Form.broken_by, whether the answer is what a person wrote)
    """

    def __init__(self, rows, instruction, device):
        longest = max(len(p) + len(a) for p, a, _, _ in rows)
        # Keys and values of instruction and prompt together in eights, as attention wants its mask.
        width = longest + -(longest + instruction) % 8
        tokens = np.zeros((len(rows), width), np.int64)
        at, target, real, kinds, again = [], [], [], [], []
        for j, (prompt, answer, places, written) in enumerate(rows):
            tokens[j, :len(prompt) + len(answer)] = prompt + answer
            for place, (broken, repeats) in enumerate(places):
                again += [(len(at), token) for token in repeats]
                at.append(j * width + len(prompt) - 1 + place)
                target.append(answer[place])
                real.append(written)
                kinds.append([kind in broken for kind in (WRONG, BEGINS, ENDS, GOES_ON)])
        to = lambda values, kind: torch.as_tensor(np.array(values, kind)).to(device, non_blocking=True)
        self.tokens, self.at, self.target = to(tokens, np.int64), to(at, np.int64), to(target, np.int64)
        self.real, self.kinds = to(real, np.float32), to(kinds, np.float32)
        self.again = to(again if again else np.zeros((0, 2)), np.int64)
        self.asked, self.own = sum(real), len(real) - sum(real)


def losses(model, instruction, batch, kinds):
    """Sums over places: negative logarithms of what people wrote; unlikelihood there; unlikelihood in own lines.

    kinds: [vocabulary, 4], one-hot
    """
    states = model.after(instruction, batch.tokens).flatten(0, 1)[batch.at]
    log_p = F.log_softmax(F.linear(states, model.embedding).float(), 1)
    told = -(log_p.gather(1, batch.target[:, None])[:, 0] * batch.real).sum()
    p = log_p.exp()
    broken = ((p @ kinds) * batch.kinds).sum(1)
    broken = broken.index_add(0, batch.again[:, 0], p[batch.again[:, 0], batch.again[:, 1]])
    unlike = -torch.log1p(-broken.clamp(max=1 - 1e-4))
    return told, (unlike * batch.real).sum(), (unlike * (1 - batch.real)).sum()


def sampler(temperature, top_p, generator, widest=None):
    """Nucleus sampling; widest: most tokens that are looked at."""
    def choose(logits):
        p = torch.softmax(logits / temperature, 1)
        p, order = p.sort(1, descending=True) if widest is None else p.topk(widest, 1)
        p[p.cumsum(1) - p >= top_p] = 0
        return order.gather(1, torch.multinomial(p, 1, generator=generator))[:, 0]
    return choose


def greedy(logits):
    return logits.argmax(1)


def write_all(model, instruction, prompts, choose, end, batch=512):
    """Answers in the order of the prompts, which are taken by length."""
    answers = [None] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for first in range(0, len(order), batch):
        chosen = order[first:first + batch]
        for i, answer in zip(chosen, model.write(instruction, [prompts[i] for i in chosen], choose, end, TOKENS)):
            answers[i] = answer
    return answers


@torch.no_grad()
def judge(model, examples, instruction, form, kinds, draws, limit):
    """draws: sampled lines for each prompt, of films and of conversations."""
    model.merge()
    device = instruction.device
    films, count = int(examples.arrays["validation_films"]), examples.count("validation")
    table = {}
    for name, low, high, times in (("films", 0, films, draws[0]), ("conversations", films, count, draws[1])):
        indices = np.random.default_rng(0).permutation(np.arange(low, high))[:limit]
        prompts = [examples.take("validation", "prompt", i) for i in indices]
        truth = [examples.take("validation", "answer", i) for i in indices]
        starts = [examples.start(p) for p in prompts]
        formed = [fault(s, t, form.end, form.texts) is None for s, t in zip(starts, truth)]
        told, tokens = np.zeros(2), np.zeros(2)
        for first in range(0, len(prompts), 128):
            for well in (0, 1):
                rows = [(p, t, [((), ())] * len(t), True) for p, t, w in
                        zip(prompts[first:first + 128], truth[first:first + 128], formed[first:first + 128]) if w == well]
                if rows:
                    batch = Batch(rows, len(instruction), device)
                    told[well] += float(losses(model, instruction, batch, kinds)[0])
                    tokens[well] += batch.asked
        best = write_all(model, instruction, prompts, greedy, form.end)
        choose = sampler(TEMPERATURE, TOP_P, torch.Generator(device).manual_seed(1))
        sampled = write_all(model, instruction, [p for p in prompts for _ in range(times)], choose, form.end)
        faults = [fault(starts[i // times], s, form.end, form.texts) for i, s in enumerate(sampled)]
        wrong = np.array([f is not None for f in faults]).reshape(-1, times).mean(1)
        again = np.random.default_rng(0).integers(0, len(wrong), (2000, len(wrong)))
        low_end, high_end = np.percentile(wrong[again].mean(1), (2.5, 97.5))
        table[name] = {
            "examples": len(indices), "perplexity": round(math.exp(told.sum() / tokens.sum()), 2),
            "perplexity of answers in the form": round(math.exp(told[1] / tokens[1]), 2),
            "greedy exact": round(float(np.mean([b == t for b, t in zip(best, truth)])), 4),
            "first token": round(float(np.mean([b[0] == t[0] for b, t in zip(best, truth)])), 4),
            "sampled lines": len(sampled),
            "sampled exact": round(float(np.mean([s == truth[i // times] for i, s in enumerate(sampled)])), 4),
            "different of one prompt": round(float(np.mean([
                len({tuple(s) for s in sampled[i:i + times]}) for i in range(0, len(sampled), times)])) / times, 4),
            "format errors": round(float(wrong.mean()), 4), "95 %": [round(float(low_end), 4), round(float(high_end), 4)],
            "greedy format errors": round(float(np.mean([
                fault(s, b, form.end, form.texts) is not None for s, b in zip(starts, best)])), 4),
            "faults": {k: faults.count(k) for k in sorted({f for f in faults if f})},
            "faulty": ["|".join((starts[i // times], "".join(form.texts[t] for t in sampled[i])))
                       for i, f in enumerate(faults) if f][:12]}
    return table


def own_lines(model, instruction, examples, form, rng, count, generator):
    """Lines that the adapter writes for prompts of the training part, every kind of prompt as often as the other."""
    films, total = int(examples.arrays["train_films"]), examples.count("train")
    chosen = [*rng.integers(0, films, count // 2), *rng.integers(films, total, count - count // 2)]
    prompts = [examples.take("train", "prompt", i) for i in chosen]
    model.merge()
    answers = write_all(model, instruction, prompts, sampler(OWN_TEMPERATURE, OWN_TOP_P, generator, 256), form.end)
    rows = [(p, a, form.broken_by(examples.start(p), a), False) for p, a in zip(prompts, answers)]
    wrong = sum(fault(examples.start(p), a, form.end, form.texts) is not None for p, a, _, _ in rows)
    return rows, wrong / count


def train(model, examples, instruction, form, kinds, options, log):
    rng = np.random.default_rng(options.seed)
    generator = torch.Generator(instruction.device).manual_seed(options.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=0.01, betas=(0.9, 0.98))
    length = lambda row: len(row[0]) + len(row[1])
    rows = []
    for i in range(examples.count("train")):
        prompt, answer = examples.take("train", "prompt", i), examples.take("train", "answer", i)
        start = examples.start(prompt)
        assert fault(start, answer, form.end, form.texts) is None, (start, answer)
        places = form.broken_by(start, answer, right=True)
        assert len(places) == len(answer), (start, answer)
        rows.append((prompt, answer, places, True))
    print(len(rows), "examples", flush=True)
    order, step, seen, sums, own_wrong = [], 0, 0, [], None
    started = time.time()
    passed = lambda: max(step / options.steps, (time.time() - started) / options.seconds)
    while passed() < 1:
        if len(order) < ROUND * options.batch:
            order += rng.permutation(len(rows)).tolist()
        drawn = sorted((rows[order.pop()] for _ in range(ROUND * options.batch)), key=length)
        own = []
        if options.own and passed() > 0.1:
            own, own_wrong = own_lines(model, instruction, examples, form, rng, ROUND * options.own, generator)
            own.sort(key=length)
        for k in rng.permutation(ROUND):
            progress = min(1, passed())
            for group in optimizer.param_groups:
                group["lr"] = options.rate * min(1, (step + 1) / 20) * (
                    0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
            batch = Batch(drawn[k * options.batch:(k + 1) * options.batch] + own[k * options.own:(k + 1) * options.own],
                          len(instruction), instruction.device)
            model.merge()
            told, unlike, own_unlike = losses(model, instruction, batch, kinds)
            loss = (told + options.unlike * unlike) / batch.asked
            if own:
                loss = loss + options.unlike_own * own_unlike / batch.own
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            seen += options.batch
            sums.append(torch.stack([told / batch.asked, unlike / batch.asked, own_unlike / max(1, batch.own)]).detach())
            if step % 20 == 0:
                mean = torch.stack(sums).mean(0).tolist()
                log["steps"].append({"step": step, "seconds": round(time.time() - started, 1), "loss": round(mean[0], 4),
                                     "unlikelihood": round(mean[1], 5), "of own lines": round(mean[2], 5),
                                     "own lines wrong": own_wrong})
                sums = []
                if step % 80 == 0 or step == 20:
                    print(log["steps"][-1], flush=True)
    log["steps_done"], log["epochs"] = step, seen / len(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", nargs="+", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--texts", required=True, help="JSON list: text of each token, of token_texts.py")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--start", help="an adapter to go on from")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--own", type=int, default=32, help="own lines in a batch")
    parser.add_argument("--unlike", type=float, default=12, help="weight of the unlikelihood in people's queries")
    parser.add_argument("--unlike-own", type=float, default=12, help="weight of the unlikelihood in own lines")
    parser.add_argument("--draws", type=int, nargs=2, default=(5, 20), help="sampled lines of each validation prompt")
    parser.add_argument("--limit", type=int, default=100000, help="validation examples of each kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(options.seed)
    began = time.time()
    weights = (Weights.of_gguf(options.weights[0], 1000) if options.weights[0].endswith(".gguf")
               else Weights.of_packed(options.weights))
    state = load_file(options.start) if options.start else None
    model = Causal(weights, rank_of(state) if state else options.rank,
                   torch.bfloat16 if device == "cuda" else torch.float32).to(device)
    if state:
        model.load_adapter(state)
    texts = json.loads(pathlib.Path(options.texts).read_text())
    form = Form(texts, texts.index("<|im_end|>"))
    kinds = F.one_hot(torch.from_numpy(form.kinds.astype(np.int64)), 4).float().to(device)
    examples = Examples(options.data, texts)
    instruction = torch.from_numpy(examples.instruction).to(device)
    log = {"options": {k: str(v) for k, v in vars(options).items()}, "steps": [],
           "examples": {w: examples.count(w) for w in ("train", "validation")}}
    print("ready after", round(time.time() - began, 1), flush=True)
    if options.steps:
        train(model, examples, instruction, form, kinds, options, log)
        save_file(model.adapter(), options.out / "adapter_model.safetensors")
        # Judged is what is in the file.
        model.load_adapter(load_file(options.out / "adapter_model.safetensors"))
    log["validation"] = judge(model, examples, instruction, form, kinds, options.draws, options.limit)
    log["seconds"] = time.time() - began
    print(json.dumps(log["validation"], ensure_ascii=False, indent=1), round(log["seconds"], 1), "s", flush=True)
    (options.out / "training-log.json").write_text(json.dumps(log, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
