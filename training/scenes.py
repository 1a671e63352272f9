"""The toy world: sampling scenes of coloured shapes and words, and drawing them with a map of what is where."""
from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SHAPES = ["circle", "square", "triangle", "star", "cross"]
COLOURS = {"red": (222, 40, 40), "green": (40, 165, 60), "blue": (40, 80, 225), "yellow": (240, 220, 40),
           "purple": (150, 50, 190), "orange": (245, 140, 25)}
SIZES = ["small", "large"]
WORDS = ["STOP", "OPEN", "EXIT", "CAFE", "SALE", "TAXI", "PARK", "ZOO", "BUS", "MILK"]
PLACES = ["top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right"]
ROW_PLACES = ["top", "centre", "bottom"]
WORD_MARK = 10


@dataclass
class Thing:
    shape: str
    colour: str
    size: str
    cell: int  # index into PLACES

    @property
    def place(self) -> str:
        return PLACES[self.cell]


@dataclass
class Scene:
    width: int
    height: int
    things: list[Thing]
    word: str | None = None
    word_row: int = 0
    look: int = 0  # seed of everything that has no bearing on the truth: background, jitter, shades

    def truth(self) -> dict:
        """The scene as plain data, for files."""
        d = asdict(self)
        for t in d["things"]:
            t["place"] = PLACES[t.pop("cell")]
        d["word_place"] = ROW_PLACES[self.word_row] if self.word else None
        for key in ("look", "word_row"):
            d.pop(key)
        return d


def sample(rng: random.Random, crowd: bool = False) -> Scene:
    """A scene of the world; a crowd has more things than any other scene (for learning to see only)."""
    short = rng.randint(90, 220)
    ratio = 1.0 if rng.random() < 0.4 else rng.uniform(1.0, 2.0)
    long = min(300, int(short * ratio))
    w, h = (long, short) if rng.random() < 0.5 else (short, long)
    word = rng.choice(WORDS) if rng.random() < 0.4 else None
    row = rng.randrange(3)
    cells = [c for c in range(9) if word is None or c // 3 != row]
    n = rng.randint(4, len(cells)) if crowd else rng.choices([1, 2, 3, 4], [20, 30, 30, 20])[0]
    things, seen = [], set()
    for cell in sorted(rng.sample(cells, n)):
        while True:
            # A repeated shape is what makes counting by shape worth asking.
            shape = rng.choice([t.shape for t in things]) if things and rng.random() < 0.2 else rng.choice(SHAPES)
            colour = rng.choice(list(COLOURS))
            if (shape, colour) not in seen:
                break
        seen.add((shape, colour))
        things.append(Thing(shape, colour, rng.choice(SIZES), cell))
    return Scene(w, h, things, word, row, rng.randrange(1 << 30))


def outline(shape: str, x: float, y: float, r: float) -> list[tuple[float, float]]:
    if shape == "square":
        s = r * 0.86
        return [(x - s, y - s), (x + s, y - s), (x + s, y + s), (x - s, y + s)]
    if shape == "triangle":
        return [(x, y - r), (x + r, y + r * 0.8), (x - r, y + r * 0.8)]
    if shape == "star":
        return [(x + q * math.sin(a), y - q * math.cos(a))
                for i in range(10) for a in [i * math.pi / 5] for q in [r * 1.1 if i % 2 == 0 else r * 0.45]]
    b = r * 0.34
    return [(x - b, y - r), (x + b, y - r), (x + b, y - b), (x + r, y - b), (x + r, y + b), (x + b, y + b),
            (x + b, y + r), (x - b, y + r), (x - b, y + b), (x - r, y + b), (x - r, y - b), (x - b, y - b)]


def background(rng: random.Random, w: int, h: int) -> tuple[Image.Image, bool]:
    dark = rng.random() < 0.35
    base = rng.randint(0, 55) if dark else rng.randint(175, 255)
    tint = [max(0, min(255, base + rng.randint(-12, 12))) for _ in range(3)]
    kind = rng.random()
    a = np.empty((h, w, 3), np.float32)
    a[:] = tint
    if kind < 0.3:
        ramp = np.linspace(-25, 25, w if rng.random() < 0.5 else h, dtype=np.float32)
        a += ramp[None, :, None] if len(ramp) == w else ramp[:, None, None]
    elif kind < 0.6:
        a += np.random.default_rng(rng.randrange(1 << 30)).normal(0, rng.uniform(3, 14), (h, w, 1)).astype(np.float32)
    return Image.fromarray(a.clip(0, 255).astype(np.uint8)), dark


FONTS: dict[int, ImageFont.FreeTypeFont] = {}


def draw(scene: Scene) -> tuple[Image.Image, np.ndarray]:
    """The picture, and a same-sized map: 0 background, i the i-th thing (from 1), WORD_MARK the word."""
    rng = random.Random(scene.look)
    k = 2  # drawn twice as large, then halved, for smooth edges
    w, h = scene.width * k, scene.height * k
    back, dark = background(rng, scene.width, scene.height)
    ink, where = Image.new("RGB", (w, h)), Image.new("L", (w, h), 0)
    pen, pen2 = ImageDraw.Draw(ink), ImageDraw.Draw(where)
    cw, ch = w / 3, h / 3
    c = min(cw, ch)
    for i, t in enumerate(scene.things, 1):
        r = c * (rng.uniform(0.46, 0.50) if t.size == "large" else rng.uniform(0.28, 0.32))
        room = 0.08 * c
        x = (t.cell % 3 + 0.5) * cw + rng.uniform(-room, room)
        y = (t.cell // 3 + 0.5) * ch + rng.uniform(-room, room)
        x, y = min(max(x, r), w - r), min(max(y, r), h - r)
        shade = tuple(max(0, min(255, v + rng.randint(-14, 14))) for v in COLOURS[t.colour])
        if t.shape == "circle":
            box = (x - r, y - r, x + r, y + r)
            pen.ellipse(box, fill=shade), pen2.ellipse(box, fill=i)
        else:
            points = outline(t.shape, x, y, r)
            pen.polygon(points, fill=shade), pen2.polygon(points, fill=i)
    if scene.word:
        size = int(c * rng.uniform(0.78, 0.92))
        font = FONTS.setdefault(size, ImageFont.load_default(size))
        x = w / 2 + rng.uniform(-0.1, 0.1) * w
        y = (scene.word_row + 0.5) * ch
        shade = (rng.randint(215, 255),) * 3 if dark else (rng.randint(0, 40),) * 3
        pen.text((x, y), scene.word, fill=shade, font=font, anchor="mm")
        box = pen2.textbbox((x, y), scene.word, font=font, anchor="mm")
        solid = Image.new("L", (w, h), 0)
        ImageDraw.Draw(solid).text((x, y), scene.word, fill=255, font=font, anchor="mm")
        pen2.rectangle(box, fill=WORD_MARK)
    else:
        solid = None
    where_a = np.asarray(where)
    cover = Image.fromarray(np.where((where_a > 0) & (where_a < WORD_MARK), 255, 0).astype(np.uint8))
    if solid is not None:
        cover = Image.fromarray(np.maximum(np.asarray(cover), np.asarray(solid)))
    # Composite at full size, so that edges blend with the background and not with black.
    big = back.resize((w, h), Image.NEAREST)
    big.paste(ink, (0, 0), cover)
    return big.reduce(k), where_a[::k, ::k]
