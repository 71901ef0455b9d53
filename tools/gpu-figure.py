#!/usr/bin/env python3
"""Draws docs/gpu-latency.svg from docs/gpu-results.json: latency against the number of documents, both axes logarithmic."""
import json
import math
import pathlib

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
W, H, LEFT, TOP, PLOT_W, PLOT_H = 760, 420, 70, 40, 420, 310
LINES = [
    ("PyTorch, full causal", "baseline", "full causal, compiled and graph", "#999999", "4 3"),
    ("PyTorch, BlockRank cold", "baseline", "BlockRank cold, compiled and graph", "#c0504d", "4 3"),
    ("Attune, cold", "attune", "cold", "#c0504d", ""),
    ("PyTorch, BlockRank warm", "baseline", "BlockRank warm, compiled and graph", "#1f6fb4", "4 3"),
    ("Attune, warm", "attune", "warm", "#1f6fb4", ""),
]


def points(data, source, what):
    best = {}
    for row in data[source]:
        # Of several tiles, those that are the default; PyTorch was measured in bf16.
        if (row["shape"] == "S" and row["what"] == what and row.get("note") != "tiles of 256 outputs"
                and row.get("numbers") in (None, "bf16")):
            best[row["documents"]] = row["median_ms"]
    return sorted(best.items())


def main():
    data = json.loads((DOCS / "gpu-results.json").read_text())
    x = lambda n: LEFT + PLOT_W * math.log10(n / 8) / math.log10(600 / 8)
    y = lambda ms: TOP + PLOT_H * (1 - math.log10(ms / 0.3) / math.log10(700 / 0.3))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {H}" font-family="sans-serif" font-size="12">',
           f'<rect width="{W}" height="{H}" fill="white"/>',
           f'<text x="{LEFT}" y="22" font-size="14">Ranking on one {data["device"]}, SmolLM2-135M shape, ms</text>']
    for ms in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500):
        out.append(f'<line x1="{LEFT}" x2="{LEFT + PLOT_W}" y1="{y(ms):.1f}" y2="{y(ms):.1f}" stroke="#e4e4e4"/>'
                   f'<text x="{LEFT - 8}" y="{y(ms) + 4:.1f}" text-anchor="end">{ms:g}</text>')
    for n in (10, 100, 500):
        out.append(f'<text x="{x(n):.1f}" y="{TOP + PLOT_H + 20}" text-anchor="middle">{n}</text>')
    out.append(f'<text x="{LEFT + PLOT_W / 2}" y="{TOP + PLOT_H + 42}" text-anchor="middle">documents of 160 tokens</text>')
    for i, (label, source, what, colour, dash) in enumerate(LINES):
        line = points(data, source, what)
        path = " ".join(f"{x(n):.1f},{y(ms):.1f}" for n, ms in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        out += [f'<circle cx="{x(n):.1f}" cy="{y(ms):.1f}" r="3" fill="{colour}"/>' for n, ms in line]
        ly = TOP + 14 + 22 * i
        out.append(f'<line x1="{LEFT + PLOT_W + 20}" x2="{LEFT + PLOT_W + 50}" y1="{ly - 4}" y2="{ly - 4}" stroke="{colour}" '
                   f'stroke-width="2" stroke-dasharray="{dash}"/><text x="{LEFT + PLOT_W + 58}" y="{ly}">{label}</text>')
    out.append("</svg>")
    (DOCS / "gpu-latency.svg").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
