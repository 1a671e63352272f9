"""Questions about a scene and responses to them, right or with one known fault."""
from __future__ import annotations

import random
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from scenes import COLOURS, PLACES, ROW_PLACES, SHAPES, SIZES, WORDS, Scene, Thing

WORDINGS = tomllib.loads((Path(__file__).parent / "wordings.toml").read_text())
ANSWERS = WORDINGS["answers"]
HELD_OUT = {w for part in ("questions", "rubrics") for kind in WORDINGS[part].values() for w in kind["held_out"] if w}
# Shares of the kinds of question, in what is measured and in lessons.
KINDS = {"describe": 30, "colour": 14, "shape": 12, "count": 14, "position": 14, "reading": 16, "comparison": 8}
LESSON_KINDS = KINDS | {"shape": 22, "comparison": 12}
Piece = tuple  # text, whether it is wrong, and, where the picture decides it, what would be true


@dataclass
class Response:
    pieces: list[Piece]
    fault: str  # "none" or what is wrong
    style: str  # normal, terse, verbose
    note: str  # the true fault in words; "" when there is none
    facts: int = 1  # how many facts a full answer has

    def __post_init__(self):
        self.pieces = [p if len(p) == 3 else (*p, None) for p in self.pieces]

    @property
    def text(self) -> str:
        return "".join(p[0] for p in self.pieces)


@dataclass
class Question:
    kind: str
    slots: dict[str, str]
    facts: list = field(default_factory=list)


def ask(rng: random.Random, q: Question, held_out: bool = False, lesson: bool = False) -> str:
    text = rng.choice(WORDINGS["questions"][q.kind]["held_out" if held_out else "train"])
    return (vary(rng, text) if lesson else text).format(**q.slots)


def vary(rng: random.Random, text: str) -> str:
    """The same in slightly other words; never a wording that is held out."""
    v = WORDINGS["variations"]
    if not text:
        return text
    if rng.random() < 0.5:
        text = re.sub(r"\b(image|picture)\b", lambda _: rng.choice(v["pictures"]), text)
    if rng.random() < 0.3:
        text = f"{rng.choice(v['before'])} {text}"
    if rng.random() < 0.2:
        text = f"{text} {rng.choice(v['after'])}"
    assert text not in HELD_OUT, text
    return text


def other(rng: random.Random, options: list[str], truth: str, near: list[str] = ()) -> str:
    """A wrong value; half the time one that is found elsewhere in the scene, which is harder to catch."""
    near = [x for x in near if x != truth]
    if near and rng.random() < 0.5:
        return rng.choice(near)
    return rng.choice([x for x in options if x != truth])


def plural(shape: str, n: int) -> str:
    return shape if n == 1 else shape + ("es" if shape == "cross" else "s")


def questions(scene: Scene, rng: random.Random, kinds: dict[str, int] = KINDS) -> Question:
    """A question that this scene answers without doubt."""
    shapes = [t.shape for t in scene.things]
    lone = [t for t in scene.things if shapes.count(t.shape) == 1]
    while True:
        kind = rng.choices([*kinds], [*kinds.values()])[0]
        if kind == "describe":
            return Question(kind, {}, [*scene.things] + ([scene.word] if scene.word else []))
        if kind == "colour" and lone:
            t = rng.choice(lone)
            return Question(kind, {"shape": t.shape}, [t])
        if kind == "shape":
            t = rng.choice(scene.things)
            return Question(kind, {"place": t.place}, [t])
        if kind == "count":
            shape = rng.choice(shapes) if rng.random() < 0.5 else None
            return Question(kind, {"things": plural(shape, 2) if shape else "shapes"}, [shape])
        if kind == "position":
            t = rng.choice(scene.things)
            return Question(kind, {"colour": t.colour, "shape": t.shape}, [t])
        if kind == "reading" and scene.word:
            return Question(kind, {}, [scene.word])
        if kind == "comparison":
            big, small = [t for t in lone if t.size == "large"], [t for t in lone if t.size == "small"]
            if big and small:
                a, b = rng.choice(big), rng.choice(small)
                pair = [a.shape, b.shape]
                rng.shuffle(pair)
                return Question(kind, {"a": pair[0], "b": pair[1]}, [a, b])


def fact(scene: Scene, q: Question, rng: random.Random, wrong: bool, terse: bool) -> tuple[list[Piece], str]:
    """Answer to any question but "describe": pieces, and the note on what is wrong."""
    if q.kind == "colour":
        t: Thing = q.facts[0]
        v = other(rng, list(COLOURS), t.colour, [x.colour for x in scene.things]) if wrong else t.colour
        note = f"The {t.shape} is {t.colour}, not {v}."
        return ([(v.capitalize(), wrong, t.colour.capitalize()), (".", False)] if terse else
                [(f"The {t.shape} is", False), (f" {v}", wrong, f" {t.colour}"), (".", False)]), note
    if q.kind == "shape":
        t = q.facts[0]
        v = other(rng, SHAPES, t.shape, [x.shape for x in scene.things]) if wrong else t.shape
        note = f"The shape at the {t.place} is a {t.shape}, not a {v}."
        return ([("A", False), (f" {v}", wrong, f" {t.shape}"), (".", False)] if terse else
                [("There is a", False), (f" {v}", wrong, f" {t.shape}"), (f" at the {t.place}.", False)]), note
    if q.kind == "count":
        shape = q.facts[0]
        n = sum(t.shape == shape for t in scene.things) if shape else len(scene.things)
        v = rng.choice([x for x in (n - 1, n + 1, n + 2) if 1 <= x <= 5]) if wrong else n
        verb = "is" if n == 1 else "are"
        note = f"There {verb} {n} {plural(shape or 'shape', n)}, not {v}."
        return ([(f"{v}", wrong, f"{n}"), (".", False)] if terse else
                [(f"There {'is' if v == 1 else 'are'} ", False), (f"{v}", wrong, f"{n}"),
                 (f" {plural(shape or 'shape', v)}.", False)]), note
    if q.kind == "position":
        t = q.facts[0]
        v = other(rng, PLACES, t.place) if wrong else t.place
        note = f"The {t.colour} {t.shape} is at the {t.place}, not the {v}."
        return ([("At the", False), (f" {v}", wrong, f" {t.place}"), (".", False)] if terse else
                [(f"The {t.colour} {t.shape} is at the", False), (f" {v}", wrong, f" {t.place}"), (".", False)]), note
    if q.kind == "reading":
        v = other(rng, WORDS, scene.word) if wrong else scene.word
        return ([(v, wrong, scene.word), (".", False)] if terse else
                [("The word is", False), (f" {v}", wrong, f" {scene.word}"), (".", False)]), f"The word is {scene.word}, not {v}."
    a, b = q.facts
    v, w = (b, a) if wrong else (a, b)
    note = f"The {a.shape} is larger, not the {b.shape}."
    return ([("The", False), (f" {v.shape}", wrong, f" {a.shape}"), (".", False)] if terse else
            [("The", False), (f" {v.shape}", wrong, f" {a.shape}"), (" is larger.", False)]), note


def describe(scene: Scene, rng: random.Random, fault: str) -> tuple[list[Piece], str] | None:
    """The whole scene in reading order with at most one fault; None if this scene has no room for that fault."""
    rows = [(t.cell // 3 * 3 + t.cell % 3, t) for t in scene.things]
    if scene.word:
        rows.append((scene.word_row * 3 + 1, scene.word))
    rows = [x for _, x in sorted(rows, key=lambda r: r[0])]
    target = rng.choice(scene.things)
    claim = dict(size=target.size, colour=target.colour, shape=target.shape, place=target.place)
    bad, note, word = None, "", scene.word
    full = f"{target.colour} {target.shape}"
    if fault == "missing":
        if len(rows) < 2:
            return None
        gone = rng.choice(rows)
        rows = [x for x in rows if x is not gone]
        note = f"It leaves out the word {gone}." if isinstance(gone, str) else f"It leaves out the {gone.size} {gone.colour} {gone.shape}."
    elif fault == "invented":
        used = {t.cell for t in scene.things} | ({scene.word_row * 3 + i for i in range(3)} if scene.word else set())
        pairs = {(t.shape, t.colour) for t in scene.things}
        while True:
            fake = Thing(rng.choice(SHAPES), rng.choice(list(COLOURS)), rng.choice(SIZES), rng.choice([c for c in range(9) if c not in used]))
            if (fake.shape, fake.colour) not in pairs:
                break
        rows.insert(rng.randint(0, len(rows)), fake)
        note = f"There is no {fake.colour} {fake.shape}."
    elif fault == "word":
        if not scene.word:
            return None
        word = other(rng, WORDS, scene.word)
        note = f"The word is {scene.word}, not {word}."
    elif fault == "colour":
        bad, v = fault, other(rng, list(COLOURS), target.colour, [t.colour for t in scene.things])
        note = f"The {target.shape} at the {target.place} is {target.colour}, not {v}."
    elif fault == "shape":
        bad, v = fault, other(rng, SHAPES, target.shape, [t.shape for t in scene.things])
        note = f"The shape at the {target.place} is a {target.shape}, not a {v}."
    elif fault == "place":
        bad, v = fault, other(rng, PLACES, target.place)
        note = f"The {full} is at the {target.place}, not the {v}."
    elif fault == "size":
        bad, v = fault, "small" if target.size == "large" else "large"
        note = f"The {full} is {target.size}, not {v}."
    if bad:
        claim[bad] = v
    pieces: list[Piece] = []
    for i, x in enumerate(rows):
        lead = " " if i else ""
        if isinstance(x, str):
            pieces += [(f"{lead}The word", False), (f" {word}", fault == "word", f" {scene.word}"), (f" at the {ROW_PLACES[scene.word_row]}.", False)]
            continue
        is_bad = {k: x is target and bad == k for k in claim}
        c = claim if x is target else dict(size=x.size, colour=x.colour, shape=x.shape, place=x.place)
        fake = fault == "invented" and x is fake_of(rows, scene)
        true = lambda key: None if fake else f" {getattr(x, key)}"
        told = [(f" {c[k]}", is_bad[k] or (fake and k != "size"), true(k)) for k in ("size", "colour", "shape", "place")]
        pieces += [(f"{lead}A", False), *told[:3], (" at the", False), told[3], (".", False)]
    return pieces, note


def fake_of(rows: list, scene: Scene):
    return next(x for x in rows if isinstance(x, Thing) and not any(x is t for t in scene.things))


def respond(scene: Scene, q: Question, rng: random.Random, fault: str | None = None) -> Response:
    """A response to the question, its fault drawn by chance unless given ("none" for a right one)."""
    a = ANSWERS
    while True:
        if q.kind == "describe":
            f = fault or rng.choices(["none", "colour", "shape", "place", "size", "word", "missing", "invented", "vague", "off_topic"],
                                     [36, 10, 8, 10, 5, 6, 13, 10, 4, 4])[0]
        else:
            f = fault or rng.choices(["none", "wrong", "vague", "off_topic"], [45, 42, 4, 9])[0]
        style = rng.choices(["normal", "terse", "verbose"], [64, 18, 18] if q.kind != "describe" else [80, 0, 20])[0]
        n = len(q.facts)
        if f == "vague":
            return Response([(rng.choice(a["vague"]), True)], f, "terse", "It says too little.", n)
        if f == "off_topic":
            text = rng.choice(a["off_topic"])
            if rng.random() < 0.5:  # true of the picture, but not what was asked
                aside = questions(scene, rng)
                if aside.kind in (q.kind, "describe") or q.kind == "describe":
                    continue
                text = "".join(p[0] for p in fact(scene, aside, rng, False, False)[0])
            return Response([(text, True)], f, "normal", "It does not answer the question.", n)
        if q.kind == "describe":
            made = describe(scene, rng, f)
            if made is None:
                continue
            pieces, note = made
        else:
            pieces, note = fact(scene, q, rng, f == "wrong", style == "terse")
            f = q.kind if f == "wrong" else f
        if style == "verbose":
            if rng.random() < 0.5:
                pieces = [(rng.choice(a["verbose_before"]) + " ", False), *pieces]
            else:
                pieces = [*pieces, (" " + rng.choice(a["verbose_after"]), False)]
        return Response(pieces, f, style, note if f != "none" else "", n)
