"""nDCG@10 as trec_eval counts it, fusion as the Java service does it, and a paired randomisation test."""

import numpy as np

DISCOUNT = 1 / np.log2(np.arange(2, 12))


def ndcg(order, grades, ideal):
    """order: candidates, best first; grades by candidate; ideal: the ten highest grades that exist."""
    best = (ideal * DISCOUNT).sum()
    gains = grades[order[:10]]
    return float((gains * DISCOUNT[:len(gains)]).sum() / best) if best > 0 else 0.0


def reciprocal_rank(order, grades):
    found = np.flatnonzero(grades[order] > 0)
    return 1 / (found[0] + 1) if len(found) else 0.0


def scaled(scores):
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.ones_like(scores)


def relative_mass(mass):
    return mass / mass.max()


def log_mass(mass, floor=1e-3):
    """Logarithm of the mass relative to the largest, 1 for it and 0 for {@code floor} of it or less."""
    return np.clip(1 - np.log(np.maximum(mass / mass.max(), 1e-12)) / np.log(floor), 0, None)


def standard_log_mass(mass):
    x = np.log(np.maximum(mass, 1e-9))
    return (x - x.mean()) / (x.std() + 1e-9)


FORMS = {"mass": relative_mass, "log": log_mass, "zlog": standard_log_mass}


def fused(retrieval, mass, weight, form):
    return scaled(retrieval) + weight * FORMS[form](mass)


def order(scores):
    return np.argsort(-scores, kind="stable")


def randomisation(a, b, rounds=10000, seed=1):
    """Two-sided p of the paired randomisation test."""
    difference = np.asarray(a) - np.asarray(b)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (rounds, len(difference)))
    return (np.sum(np.abs((signs * difference).mean(1)) >= abs(difference.mean()) - 1e-12) + 1) / (rounds + 1)
