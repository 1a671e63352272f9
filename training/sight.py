"""Stage 0: the vision tower learns, patch by patch, which shape, colour, size or word covers each patch."""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import tiles
from scenes import COLOURS, SHAPES, SIZES, WORD_MARK, WORDS, Scene

IGNORE = -100
FINE = 7  # outlines are asked for on a 7 by 7 grid in each patch
COLOUR_NAMES = list(COLOURS)
THIRD = np.arange(tiles.SIDE) * 3 // tiles.SIDE
OWN_PLACE = (THIRD[:, None] * 3 + THIRD).reshape(-1)
WIDTHS = {"shape": 2 + len(SHAPES), "colour": 1 + len(COLOURS), "size": 1 + len(SIZES), "word": len(WORDS), "place": 9}


def labels(scene: Scene, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[tiles, patches, 5] classes (shape, colour, size, word, place), barely covered patches left out of the loss;
    and [tiles, patches, FINE ** 2] outlines: the share of each bit of a patch that some thing covers."""
    t = tiles.cut(Image.fromarray(where), Image.NEAREST)
    n, p = t.shape[0], tiles.PATCH
    t = t.reshape(n, tiles.SIDE, p, tiles.SIDE, p).transpose(0, 1, 3, 2, 4).reshape(n, tiles.SIDE ** 2, p * p)
    b = p // FINE
    outlines = (t > 0).reshape(n, tiles.SIDE ** 2, FINE, b, FINE, b).mean((3, 5), dtype=np.float32).reshape(n, -1, FINE ** 2)
    share = np.stack([(t == k).mean(-1) for k in range(1, WORD_MARK + 1)], -1)
    top, most = share.argmax(-1), share.max(-1)
    table = np.zeros((WORD_MARK + 1, 5), int)
    for i, thing in enumerate(scene.things):
        table[i] = [1 + SHAPES.index(thing.shape), 1 + COLOUR_NAMES.index(thing.colour), 1 + SIZES.index(thing.size), IGNORE, thing.cell]
    table[WORD_MARK - 1] = [1 + len(SHAPES), IGNORE, IGNORE, WORDS.index(scene.word) if scene.word else IGNORE, scene.word_row * 3 + 1]
    table[WORD_MARK] = [0, 0, 0, IGNORE, 0]
    out = table[np.where(most > 0.25, top, WORD_MARK)]
    # Every patch is to know its place, not only the covered ones: without this the tower forgot where its patches were.
    out[..., 4] = np.where(most > 0.25, out[..., 4], OWN_PLACE)
    if n > 2:  # a place is one in the whole picture, and a tile that shows half of it cannot tell
        out[1:, :, 4] = IGNORE
    out[(most > 0.04) & (most <= 0.25), :4] = IGNORE
    return out, outlines


class Probes(torch.nn.Module):
    """Small heads over the tower's features; thrown away after training."""

    def __init__(self, width: int):
        super().__init__()
        self.heads = torch.nn.ModuleDict({k: torch.nn.Linear(width, n) for k, n in WIDTHS.items()})
        self.norm = torch.nn.LayerNorm(width)
        self.outline = torch.nn.Sequential(torch.nn.LayerNorm(width), torch.nn.Linear(width, FINE ** 2))

    def forward(self, middle: torch.Tensor, features: torch.Tensor, target: torch.Tensor, outlines: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        # Outlines, whatever the colours, half-way up the tower: without them shapes were learned last and badly.
        loss = 4 * F.binary_cross_entropy_with_logits(self.outline(middle), outlines)
        x, right = self.norm(features), {"outline": loss.item()}
        for i, (name, head) in enumerate(self.heads.items()):
            y = target[..., i]
            keep = y != IGNORE
            if not keep.any():
                continue
            out, y = head(x[keep]), y[keep]
            on = y > 0 if name not in ("word", "place") else y >= 0  # where there is something to see
            each = F.cross_entropy(out, y, reduction="none")
            # Nine patches in ten are background and would drown the rest in one mean.
            for part, weight in ((on, 2.0 if name == "shape" else 1.0), (~on, 0.1)):
                if part.any():
                    loss = loss + weight * each[part].mean()
            right[name] = (out.argmax(-1) == y)[on].float().mean().item() if on.any() else float("nan")
        return loss, right
