"""Stages 1 and 2: from captions to judgments, many segments sharing each picture.  See README.md."""
from __future__ import annotations

import argparse
import json
import math
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KMP_BLOCKTIME", "0")
import numpy as np
import torch
import torch.nn.functional as F

import cases
import export
import feed
import model as critic
import oracle
import scenes
import sight
import tiles
import words
from check import validate

CHUNKS = 4  # segments of like length run together, so that little is spent on padding
VERDICT_WEIGHT, ECHO = 5.0, 1.0


def collate(pictures: list[dict], encoder: words.Encoder) -> dict:
    """Pictures with their segments -> arrays.  A picture has u8, index, and optionally labels and outlines."""
    head = len(encoder.head)
    length = np.array([head + len(p["index"]) for p in pictures])
    index = np.full((len(pictures), length.max() - head), -1)
    at, segs = 0, []
    for i, p in enumerate(pictures):
        patches = p["index"]
        index[i, :len(patches)] = np.where(patches < 0, -1, patches + at)
        at += len(p["u8"]) * tiles.SIDE ** 2
        segs += [dict(s, owner=i) for s in p["segments"]]
    segs.sort(key=lambda s: len(s["ids"]))
    chunks = []
    for part in np.array_split(np.arange(len(segs)), min(CHUNKS, len(segs))):
        group = [segs[i] for i in part]
        T = max(len(s["ids"]) for s in group)
        pad = lambda key, fill: np.stack([np.pad(s[key], (0, T - len(s[key])), constant_values=fill) for s in group])
        chunks.append(dict(ids=pad("ids", 0), target=pad("target", 0), weight=pad("weight", 0), wrong=pad("wrong", words.WRONG_IGNORE), grade=pad("grade", words.WRONG_IGNORE),
                           owner=np.array([s["owner"] for s in group]), verdict=np.stack([s["verdict"] for s in group]),
                           meta=[s.get("meta") for s in group]))
    out = dict(u8=np.concatenate([p["u8"] for p in pictures]), index=index, length=length, chunks=chunks)
    if "labels" in pictures[0]:
        out["labels"] = np.concatenate([p["labels"] for p in pictures])
        out["outlines"] = np.concatenate([p["outlines"] for p in pictures])
    return out


def maker(encoder: words.Encoder, pictures: int, segments: int, captions: float):
    def make(rng):
        out = []
        for _ in range(pictures):
            scene = scenes.sample(rng)
            im, where = scenes.draw(scene)
            label, outline = sight.labels(scene, where)
            out.append(dict(u8=tiles.cut(im), index=tiles.packing(im.height, im.width), labels=label, outlines=outline,
                            segments=[encoder.segment(c, VERDICT_WEIGHT, ECHO) for c in cases.some(scene, rng, segments, captions)]))
        return collate(out, encoder)
    return make


def forward(model, encoder: words.Encoder, batch: dict, swap: bool = False):
    """Hidden states per chunk (see model.read), and the tower's outputs.  `swap` gives every segment the next picture instead of its own."""
    t = torch.from_numpy
    middle, features = critic.see_twice(model, t(batch["u8"]))
    index, length = t(batch["index"]), t(batch["length"])
    picture = critic.picture_tokens(model, features, index, length)
    head = model.model.language_model.embed_tokens(torch.tensor(encoder.head))[None].expand(len(index), -1, -1)
    prefix = torch.cat([head, picture], 1)
    n = len(index)
    chunks = [dict(ids=t(c["ids"]), owner=(t(c["owner"]) + swap) % n) for c in batch["chunks"]]
    return critic.read(model, prefix, length, chunks), middle, features


def losses(model, flaw: torch.nn.Module, mark: torch.nn.Module, states: tuple, batch: dict) -> list[torch.Tensor]:
    """Weighted next-token loss; telling untrue words from true ones as they are read; grading a response at its end."""
    t, xs, ys, ws, fx, fy, gx, gy = torch.from_numpy, [], [], [], [], [], [], []
    for h, at_flaw, at_grade, c in zip(*states, batch["chunks"]):
        w = t(c["weight"])[:, 1:].float()
        keep = w > 0
        xs.append(h[:, :-1][keep]), ys.append(t(c["target"])[:, 1:][keep]), ws.append(w[keep])
        wrong, grade = t(c["wrong"]), t(c["grade"])
        fx.append(at_flaw[wrong >= 0]), fy.append(wrong[wrong >= 0].float())
        gx.append(at_grade[grade >= 0]), gy.append(grade[grade >= 0])
    y, w, fy = torch.cat(ys), torch.cat(ws), torch.cat(fy)
    loss = (F.cross_entropy(critic.logits(model, torch.cat(xs)), y, reduction="none") * w).sum() / w.sum()
    if not len(fy):
        return [loss, loss * 0, loss * 0]
    return [loss, F.binary_cross_entropy_with_logits(flaw(torch.cat(fx))[:, 0], fy, pos_weight=torch.tensor(3.0)),
            F.cross_entropy(mark(torch.cat(gx)), torch.cat(gy))]


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--sight", required=True, help="sight.pt of stage 0")
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--steps", type=int, default=6000)
    ap.add_argument("--captions", type=float, nargs=2, default=[0.07, 0.15], help="shares of the run: only captions until, half captions until")
    ap.add_argument("--rate", type=float, default=1e-3)
    ap.add_argument("--pictures", type=int, default=8)
    ap.add_argument("--segments", type=int, default=6)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--warm", help="go on from this critic.pt, or from an exported checkpoint folder")
    ap.add_argument("--warm-up", type=int, default=150)
    ap.add_argument("--check-every", type=int, default=250)
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)
    encoder = words.load(a.tokenizer)
    plan = [(0, 1.0), (int(a.steps * a.captions[0]), 0.5), (int(a.steps * a.captions[1]), 0.12)]
    # Captions are short: twice as many to a picture cost little.
    feeds = [feed.batches(maker(encoder, a.pictures, a.segments * (2 if share == 1.0 else 1), share), f"train-{a.seed}-{i}")
             for i, (_, share) in enumerate(plan)]
    torch.set_num_threads(2)
    torch.manual_seed(a.seed)
    model = critic.build(encoder.rows, encoder.special)
    probes, flaw = sight.Probes(critic.VISION["hidden_size"]), torch.nn.Linear(critic.TEXT["hidden_size"], 1)
    mark = torch.nn.Linear(critic.TEXT["hidden_size"], 1 + oracle.GRADES)
    old = torch.load(a.sight)
    model.model.vision_tower.load_state_dict(old["tower"]), probes.load_state_dict(old["probes"], strict=False)
    if a.warm and os.path.isdir(a.warm):
        critic.grow(model, export.read(model, a.warm))
    elif a.warm:
        old = torch.load(a.warm)
        critic.grow(model, old["model"]), probes.load_state_dict(old["probes"], strict=False), flaw.load_state_dict(old["flaw"])
        if "mark" in old:
            mark.load_state_dict(old["mark"])
    tower = [p for n, p in model.named_parameters() if "vision_tower" in n and "post_layernorm" not in n]
    rest = [p for n, p in model.named_parameters() if "vision_tower" not in n and "embed_tokens" not in n] + [*flaw.parameters(), *mark.parameters()]
    names = [model.model.language_model.embed_tokens.weight]  # slower, so that words of one kind stay apart
    groups = [dict(params=rest, rate=a.rate), dict(params=names, rate=a.rate * 0.33, weight_decay=0.0), dict(params=tower + [*probes.parameters()], rate=a.rate * 0.3)]
    opt = torch.optim.AdamW(groups, lr=a.rate, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    log, t0, mean = open(f"{a.out}/train.jsonl", "a"), time.time(), None

    def save():
        torch.save(dict(model=model.state_dict(), probes=probes.state_dict(), flaw=flaw.state_dict(), mark=mark.state_dict()), f"{a.out}/critic.new")
        os.replace(f"{a.out}/critic.new", f"{a.out}/critic.pt")

    for step in range(a.steps):
        scale = min(1, (step + 1) / a.warm_up) * (0.5 + 0.5 * math.cos(math.pi * step / a.steps)) + 0.01
        for g in opt.param_groups:
            g["lr"] = g["rate"] * scale
        batch = next(feeds[max(i for i, (start, _) in enumerate(plan) if step >= start)])
        states, middle, features = forward(model, encoder, batch)
        loss, flaw_loss, mark_loss = losses(model, flaw, mark, states, batch)
        look, seen = probes(middle, features, torch.from_numpy(batch["labels"]), torch.from_numpy(batch["outlines"]))
        opt.zero_grad()
        (loss + flaw_loss + 0.7 * mark_loss + 0.3 * look).backward()
        torch.nn.utils.clip_grad_norm_([p for g in opt.param_groups for p in g["params"]], 1.0)
        opt.step()
        now = np.array([loss.item(), flaw_loss.item(), look.item(), mark_loss.item()])
        mean = now if mean is None else 0.97 * mean + 0.03 * now
        row = None
        if step % 50 == 49:
            row = dict(step=step + 1, seconds=round(time.time() - t0), loss=round(mean[0], 4), flaw=round(mean[1], 4), sight=round(mean[2], 4), grade=round(mean[3], 4),
                       place=round(seen["place"], 3))
        if (step + 1) % a.check_every == 0 or step + 1 == a.steps:
            save()
            row = (row or dict(step=step + 1)) | validate(model, encoder, forward, collate)
        if row:
            print(json.dumps(row), flush=True)
            log.write(json.dumps(row) + "\n"), log.flush()


if __name__ == "__main__":
    main()
