"""The small validation set watched in training: verdicts with the right picture and with another one.  Never the test set."""
from __future__ import annotations

import random

import numpy as np
import torch

import cases
import model as critic
import scenes
import tiles

PICTURES, SEGMENTS = 96, 8
CACHE: dict = {}


def batches(encoder, collate) -> list[dict]:
    if not CACHE:
        rng, out = random.Random("validation"), []
        for _ in range(PICTURES):
            scene = scenes.sample(rng)
            im, _ = scenes.draw(scene)
            segs = []
            for c in cases.some(scene, rng, SEGMENTS, 0.0):
                segs.append(dict(encoder.segment(c, 1.0, 0.0), meta=c))
            out.append(dict(u8=tiles.cut(im), index=tiles.packing(im.height, im.width), segments=segs))
        CACHE["batches"] = [collate(out[i:i + 16], encoder) for i in range(0, PICTURES, 16)]
    return CACHE["batches"]


def value(ids: list[int], encoder, case) -> float:
    """A verdict from the likeliest token at each place, normalised; a first digit of "1" reads on to "0"."""
    s = case.rubric["scale"]
    text = encoder.tok.decode(ids).split("\n")[0].strip()
    try:
        x = float(text)
    except ValueError:
        return 0.5
    return min(1.0, max(0.0, (x - s["min"]) / (s["max"] - s["min"])))


@torch.no_grad()
def validate(model, encoder, forward, collate) -> dict:
    result = {}
    for swap in (False, True):
        points, pairs, decided, reasons = [], [], [], []
        for batch in batches(encoder, collate):
            (hidden, *_), *_ = forward(model, encoder, batch, swap)
            for h, c in zip(hidden, batch["chunks"]):
                best = critic.logits(model, h).argmax(-1).numpy()
                for row, ids, (a, b), case in zip(best, c["ids"], c["verdict"], c["meta"]):
                    right = bool((row[a - 1:b - 1] == ids[a:b]).all())
                    n = len(ids) if not (ids[b:] == 0).any() else b + int(np.argmax(ids[b:] == 0))
                    if case.kind == "pointwise":
                        truth = value(list(ids[a:b]), encoder, case)
                        points.append((value(list(row[a - 1:b]), encoder, case), truth, right))
                    else:
                        pairs.append(right)
                        if case.verdict != "tie":
                            decided.append(right)
                    if any(r.fault not in ("none", "vague", "off_topic") for r in case.responses):
                        reasons.append(bool((row[b:n - 1] == ids[b + 1:n]).all()))
        x = np.array(points, float)
        tag = "swap_" if swap else ""
        result |= {f"{tag}r": round(float(np.corrcoef(x[:, 0], x[:, 1])[0, 1]), 3) if x[:, 0].std() else 0.0,
                   f"{tag}score": round(float(x[:, 2].mean()), 3), f"{tag}pair": round(float(np.mean(pairs)), 3),
                   f"{tag}decided": round(float(np.mean(decided)), 3), f"{tag}reason": round(float(np.mean(reasons)), 3)}
    return result
