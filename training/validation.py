"""Masses of the validation lists, and what they are worth."""

import numpy as np
import torch

import metrics
from batches import SOURCES, Batch


@torch.no_grad()
def validate(model, lists, run, limit, device, views, size=600):
    """Per validation set: its lists, and for each view their masses."""
    results = {}
    a = lists.arrays
    count = (a["rows"] >= 0).sum(1)
    for name in lists.names:
        if name in SOURCES:
            continue
        indices = lists.of(name)
        order = sorted(indices[:limit] if limit else indices, key=lambda i: count[i])
        masses = {view: [] for view in views}
        start = 0
        while start < len(order):
            documents = count[order[start]]
            end = start + 1
            while end < len(order) and (end - start + 1) * documents <= size and count[order[end]] == documents:
                end += 1
            part = np.array(order[start:end])
            batch = Batch(lists, part, a["rows"][part][:, :documents].astype(np.int64), 160,
                          shares=sorted({share for share, _ in views if share})).to(device)
            for view, found in zip(views, run(model, lists, batch, views)):
                masses[view].extend(found.float().cpu().numpy())
            start = end
        results[name] = (np.array(order), masses)
    return results


def summary(lists, results):
    """nDCG@10 of retrieval, of BlockRank alone and of both fused, per set and view; of personal sets the reciprocal rank
    of the first film that the user likes."""
    table = {}
    a = lists.arrays
    for name, (indices, masses) in results.items():
        def mean(measure):
            return round(float(np.mean([measure(j, i) for j, i in enumerate(indices)])), 4)

        def worth(i, score):
            if name.startswith("personal"):
                return metrics.reciprocal_rank(metrics.order(score), a["grades"][i])
            return metrics.ndcg(metrics.order(score), a["grades"][i], a["ideal"][i])

        row = {"lists": len(indices), "hybrid": mean(lambda j, i: worth(i, a["scores"][i][:len(masses_of(masses)[j])]))}
        for (share, int8), found in masses.items():
            values = {"alone": mean(lambda j, i: worth(i, found[j]))}
            for weight in (0.2, 0.4, 0.7, 1):
                values[f"log {weight}"] = mean(
                    lambda j, i: worth(i, metrics.fused(a["scores"][i][:len(found[j])], found[j], weight, "log")))
            values["length"] = round(length_beyond(lists, indices, found), 3)
            row[f"{share or 1}{' int8' if int8 else ''}"] = values
        table[name] = row
    return table


def masses_of(masses):
    return next(iter(masses.values()))


def length_beyond(lists, indices, found):
    """Mean correlation of length and logarithm of the mass, less that of length and judgment."""
    a = lists.arrays
    apart = []
    for i, mass in zip(indices, found):
        lengths = lists.lengths[a["rows"][i][:len(mass)]]
        judged = a["grades"][i][:len(mass)] > 0
        if 0 < judged.sum() < len(judged) and lengths.std() > 0:
            apart.append(np.corrcoef(lengths, np.log(mass + 1e-9))[0, 1] - np.corrcoef(lengths, judged)[0, 1])
    return float(np.mean(apart)) if apart else 0.0


def of_teachers(lists):
    """nDCG@10 of the candidates in the teachers' order, and fused with retrieval: what could be learned from them."""
    a = lists.arrays
    table = {}
    for name in lists.names:
        if name in SOURCES or name.startswith("personal"):
            continue
        scores, fused = [], []
        for i in lists.of(name):
            rows = a["rows"][i][a["rows"][i] >= 0]
            similar = lists.similarity([i], rows[None].astype(np.int64))[0].float().cpu().numpy()
            for values, score in ((scores, similar),
                                  (fused, metrics.scaled(a["scores"][i][:len(rows)]) + 0.4 * metrics.scaled(similar))):
                values.append(metrics.ndcg(metrics.order(score), a["grades"][i], a["ideal"][i]))
        table[name] = [round(float(np.mean(scores)), 4), round(float(np.mean(fused)), 4)]
    return table
