"""Writes which tokens are kept of made-up documents, for a test of the service's KeptTokens.

Usage: python golden_kept_tokens.py OUT.json
"""

import json
import pathlib
import sys

import numpy as np

from batches import kept_tokens

START = 4


def main(out):
    rng = np.random.default_rng(1)
    cases = []
    for length, title in ((5, 0), (12, 3), (33, 0), (64, 9), (120, 30), (160, 13)):
        # Few different ids, so that some stand more than once.
        document = rng.integers(0, 2 * length, length)
        for share in (0.01, 0.1, 0.25, 0.9, 1.0):
            kept, there = kept_tokens(document[None], np.array([length]), START, np.array([START + title]), share)
            cases.append({"document": document.tolist(), "titleStart": START, "titleEnd": START + title, "share": share,
                          "kept": sorted(kept[0][there[0]].tolist())})
    pathlib.Path(out).write_text("[" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "]\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
