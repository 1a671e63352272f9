"""One picture into base tile and grid tiles, and the order in which their patches enter the prompt (anyres with unpad)."""
from __future__ import annotations

import math

import numpy as np
from PIL import Image

SIZE, PATCH = 112, 14
SIDE = SIZE // PATCH
PINPOINTS = [[112, 112], [112, 224], [224, 112]]  # height, width
MAX_TILES = 4  # of "anyres_max_4"; our grids never reach it, so no feature map is ever shrunk


def best_resolution(h: int, w: int) -> tuple[int, int]:
    best, eff0, waste0 = (0, 0), 0, math.inf
    for ph, pw in PINPOINTS:
        s = min(pw / w, ph / h)
        eff = min(int(w * s) * int(h * s), w * h)
        waste = ph * pw - eff
        if eff > eff0 or (eff == eff0 and waste < waste0):
            best, eff0, waste0 = (ph, pw), eff, waste
    return best


def cut(im: Image.Image, resample: int = Image.BICUBIC) -> np.ndarray:
    """[1 + n, SIZE, SIZE(, 3)] u8: the squashed whole first, then the tiles row by row."""
    w, h = im.size
    ph, pw = best_resolution(h, w)
    sw, sh = pw / w, ph / h
    nh, nw = (min(math.ceil(h * sw), ph), pw) if sw < sh else (ph, min(math.ceil(w * sh), pw))
    canvas = Image.new(im.mode, (pw, ph))
    canvas.paste(im.resize((nw, nh), resample), ((pw - nw) // 2, (ph - nh) // 2))
    parts = [im.resize((SIZE, SIZE), resample)]
    parts += [canvas.crop((x, y, x + SIZE, y + SIZE)) for y in range(0, ph, SIZE) for x in range(0, pw, SIZE)]
    return np.stack([np.asarray(p) for p in parts])


def packing(h: int, w: int) -> np.ndarray:
    """Indices into the picture's patches (tile-major) in prompt order; -1 stands for the newline vector."""
    ph, pw = best_resolution(h, w)
    gh, gw = ph // PATCH, pw // PATCH
    r0 = c0 = 0
    if w / h > gw / gh:
        r0 = (gh - int(round(h * (gw / w), 7))) // 2
    else:
        c0 = (gw - int(round(w * (gh / h), 7))) // 2
    base = np.arange(SIDE * SIDE)
    grid = np.arange(gh * gw).reshape(ph // SIZE, pw // SIZE, SIDE, SIDE) + SIDE * SIDE
    grid = grid.transpose(0, 2, 1, 3).reshape(gh, gw)[r0:gh - r0, c0:gw - c0]
    rows = np.concatenate([grid, np.full((grid.shape[0], 1), -1)], 1)
    return np.concatenate([base, rows.reshape(-1)])
