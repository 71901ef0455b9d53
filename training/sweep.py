"""Chooses how masses and retrieval are fused, on the validation lists of a training.

Usage: python sweep.py DATA.npz VALIDATION.npz OUT.json

Per form of the mass and weight: the difference of nDCG@10 to retrieval alone per collection, for all tokens and for one in
ten; chosen is the weight of the form of the service (`log`) with the largest mean difference, among those where no
collection that had no part in training loses more than .002. With p of the paired randomisation test for the chosen one, and
how much more a document's length correlates, within a list, with its mass, the logarithm of it, the fused score and
retrieval's than with the judgments.
"""

import json
import pathlib
import sys

import numpy as np

import metrics

SETS = ("movies/validation", "scifact/validation", "cranfield/whole", "npl/whole")
UNSEEN = ("cranfield/whole", "npl/whole")
WEIGHTS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 1.0)


def length(a, v, lengths, name, score):
    apart = []
    for j, i in enumerate(v[f"{name}|lists"]):
        rows = a["rows"][i][a["rows"][i] >= 0]
        judged = a["grades"][i][:len(rows)] > 0
        if 0 < judged.sum() < len(judged) and lengths[rows].std() > 0:
            both = [np.corrcoef(lengths[rows], x)[0, 1]
                    for x in (score(a["scores"][i][:len(rows)], v[f"{name}|1|bf16"][j][:len(rows)]), judged)]
            apart.append(both[0] - both[1])
    return round(float(np.mean(apart)), 3)


def main(data, validation, out):
    with np.load(data) as arrays:
        a = {k: arrays[k] for k in ("rows", "scores", "grades", "ideal")}
        lengths = np.diff(arrays["documents_offsets"])
    with np.load(validation) as arrays:
        v = {k: arrays[k] for k in arrays.files}

    def each(name, view, score):
        values = []
        for j, i in enumerate(v[f"{name}|lists"]):
            n = int((a["rows"][i] >= 0).sum())
            mass = v[f"{name}|{view}"][j][:n]
            values.append(metrics.ndcg(metrics.order(score(a["scores"][i][:n], mass)), a["grades"][i], a["ideal"][i]))
        return np.array(values)

    retrieval = {name: each(name, "1|bf16", lambda r, m: r) for name in SETS}
    views = [w for w in ("1|bf16", "0.1|bf16", "1|int8", "0.1|int8") if f"{SETS[0]}|{w}" in v]

    def gains(view, form, weight):
        return {name: each(name, view, lambda r, m: metrics.fused(r, m, weight, form)) - retrieval[name] for name in SETS}

    table = {view: {f"{form} {weight}": {n: round(float(g.mean()), 4) for n, g in gains(view, form, weight).items()}
                    for form in metrics.FORMS for weight in WEIGHTS} for view in views}
    allowed = [w for w in WEIGHTS if all(table["1|bf16"][f"log {w}"][n] >= -0.002 for n in UNSEEN)]
    chosen = max(allowed or WEIGHTS, key=lambda w: sum(table["1|bf16"][f"log {w}"].values()))
    result = {"retrieval": {n: round(float(r.mean()), 4) for n, r in retrieval.items()},
              "lists": {n: len(r) for n, r in retrieval.items()},
              "alone": {n: round(float(each(n, "1|bf16", lambda r, m: m).mean()), 4) for n in SETS},
              "chosen weight": chosen, "gain": {}, "differences": table}
    for view in views:
        result["gain"][view] = {
            n: [round(float(g.mean()), 4), round(float(metrics.randomisation(g, np.zeros_like(g))), 4)]
            for n, g in gains(view, "log", chosen).items()}
    scores = {"mass": lambda r, m: m, "logarithm": lambda r, m: np.log(np.maximum(m, 1e-9)),
              "fused": lambda r, m: metrics.fused(r, m, chosen, "log"), "retrieval": lambda r, m: r}
    result["length"] = {n: {what: length(a, v, lengths, n, score) for what, score in scores.items()} for n in SETS}
    pathlib.Path(out).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: result[k] for k in ("retrieval", "alone", "chosen weight", "gain", "length")}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
