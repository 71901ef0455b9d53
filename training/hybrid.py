"""Turns lists of BM25 into those of hybrid retrieval, as the Java service fuses them (reciprocal rank, k = 60).

Usage: python hybrid.py DATA.npz MINILM.npz OUT.npz      (MINILM written by teacher.py embed minilm)
"""

import sys

import numpy as np

DEPTH = 100


def main(data, vectors, out):
    with np.load(data) as arrays:
        a = {k: arrays[k] for k in arrays.files}
    with np.load(vectors) as v:
        documents, queries = v["documents"].astype(np.float32), v["queries"].astype(np.float32)
    number = [str(n) for n in a["names"]].index("movies/validation")
    low, high = a["set_documents"][number]
    for i in np.flatnonzero(a["sets"] == number):
        grades = {int(r): int(g) for r, g in zip(a["rows"][i], a["grades"][i]) if r >= 0}
        lexical = [int(r) for r, s in zip(a["rows"][i], a["scores"][i]) if r >= 0 and s > 0][:DEPTH]
        similar = documents[low:high] @ queries[i]
        dense = (np.argsort(-similar, kind="stable")[:DEPTH] + low).tolist()
        scores = {}
        for ranking in (lexical, dense):
            for rank, r in enumerate(ranking):
                scores[r] = scores.get(r, 0) + 1 / (61 + rank)
        fused = sorted(scores, key=lambda r: -scores[r])[:DEPTH]
        n = len(fused)
        a["rows"][i], a["grades"][i] = -1, 0
        a["rows"][i, :n] = fused
        a["scores"][i, :n] = [scores[r] for r in fused]
        a["grades"][i, :n] = [grades.get(r, 0) for r in fused]
        a["dense"][i, :n] = similar[np.array(fused) - low]
    np.savez(out, **a)


if __name__ == "__main__":
    main(*sys.argv[1:])
