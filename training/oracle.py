"""The oracle knows the truth: grades of a response on three axes, scores on any scale, and the reason in words."""
from __future__ import annotations

from talk import Response

GRADES = 5  # 0 worst .. 5 best
PROSE = {"normal": "It is right and complete.", "terse": "It is right but short.", "verbose": "It is right but wordy."}


def grade(r: Response, axis: str, kind: str) -> int:
    if r.fault == "off_topic":
        return 0
    if r.fault == "vague":
        return {"accuracy": 3, "completeness": 1, "overall": 1}[axis]
    if r.fault == "none":
        return {"accuracy": 5, "completeness": 4 if r.style == "terse" else 5, "overall": 5 if r.style == "normal" else 4}[axis]
    if r.fault == "missing":
        return {"accuracy": 5, "completeness": 2 if r.facts == 2 else 3, "overall": 3}[axis]
    if kind == "describe":  # one slip among several facts
        return {"accuracy": 2, "completeness": 4, "overall": 2}[axis]
    return {"accuracy": 1, "completeness": 2, "overall": 1}[axis]


def score(g: int, low: float, high: float, step: float) -> float:
    """The grade on a scale, on its nearest step (halves up)."""
    steps = int((high - low) * g / GRADES / step + 0.5 + 1e-9)
    return low + steps * step


def number(x: float) -> str:
    """Shortest form: 0, 10, 0.1."""
    return f"{round(x, 6):g}"


def reason(r: Response) -> str:
    return r.note or PROSE[r.style]


def preference(a: int, b: int) -> str:
    return "tie" if a == b else "1" if a > b else "2"


def reason_pair(a: Response, b: Response, choice: str) -> str:
    """What decided it: the loser's fault, if it has one."""
    if choice == "tie":
        if a.fault == b.fault == "none":
            return "Both are right."
        return f"Both: {a.note}" if a.note == b.note else f"Response 1: {reason(a)} Response 2: {reason(b)}"
    return f"Response 2: {reason(b)}" if choice == "1" else f"Response 1: {reason(a)}"
