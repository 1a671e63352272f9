"""Runs stage 0 and saves the vision tower: python train_sight.py --minutes 12 --out DIR."""
from __future__ import annotations

import argparse
import json
import math
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # beside other work, spinning threads are slow threads
os.environ.setdefault("KMP_BLOCKTIME", "0")
import numpy as np
import torch

import feed
import model as critic
import scenes
import sight
import tiles

PICTURES = 32


def make(rng):
    u8, y, o = [], [], []
    for _ in range(PICTURES):
        scene = scenes.sample(rng, crowd=rng.random() < 0.75)
        im, where = scenes.draw(scene)
        t, (label, outline) = tiles.cut(im), sight.labels(scene, where)
        if len(t) == 2:  # a single grid tile shows what the base tile shows: take one of them
            k = rng.randrange(2)
            t, label, outline = t[k:k + 1], label[k:k + 1], outline[k:k + 1]
        u8.append(t), y.append(label), o.append(outline)
    return np.concatenate(u8), np.concatenate(y), np.concatenate(o)


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--steps", type=int, default=3000)
    ap.add_argument("--rate", type=float, default=1.5e-3)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--warm", help="go on from this sight.pt")
    ap.add_argument("--out", required=True)
    ap.add_argument("--threads", type=int, default=2)
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)
    source = feed.batches(make, f"sight-{a.seed}")
    first = next(source)
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    model = critic.build(1024, {"<|endoftext|>": 0, "<|im_end|>": 1, "<image>": 2, "<video>": 3})
    tower, probes = model.model.vision_tower, sight.Probes(critic.VISION["hidden_size"])
    if a.warm:
        old = torch.load(a.warm)
        tower.load_state_dict(old["tower"])
        probes.load_state_dict(old["probes"], strict=False)
    params = [*tower.embeddings.parameters(), *tower.encoder.parameters(), *probes.parameters()]
    opt = torch.optim.AdamW(params, lr=a.rate, betas=(0.9, 0.98), weight_decay=0.02)
    log, t0 = open(f"{a.out}/sight.jsonl", "w"), time.time()
    for step in range(a.steps):
        scale = min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / a.steps)) + 0.02
        for g in opt.param_groups:
            g["lr"] = a.rate * scale
        u8, y, o = first if step == 0 else next(source)
        loss, right = probes(*critic.see_twice(model, torch.from_numpy(u8)), torch.from_numpy(y), torch.from_numpy(o))
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        if step % 25 == 0:
            row = dict(step=step, seconds=round(time.time() - t0), loss=round(loss.item(), 4), tiles=len(u8),
                       **{k: round(v, 3) for k, v in right.items()})
            print(json.dumps(row), flush=True)
            log.write(json.dumps(row) + "\n")
        if step % 250 == 249 or step + 1 == a.steps:
            torch.save({"tower": tower.state_dict(), "probes": probes.state_dict()}, f"{a.out}/sight.pt")


if __name__ == "__main__":
    main()
