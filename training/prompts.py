"""Rubrics and formats from config/, rendered by the rule that the server follows too."""
from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from oracle import number
from talk import WORDINGS

CONFIG = Path(__file__).parent.parent / "config"
CRITIC = tomllib.loads((CONFIG / "critics" / "gavel-mini.toml").read_text())
RUBRICS = {r["name"]: r for r in (tomllib.loads(p.read_text()) for p in sorted((CONFIG / "rubrics").glob("*.toml")))}
FIELD = re.compile(r"\{(question|criteria|min|max|reference|response|response_1|response_2)\}")


def formats(kind: str, held_out: bool = False) -> list[dict]:
    return [f for f in CRITIC["formats"] if f["kind"] == kind and f.get("held_out", False) == held_out]


def rubrics(kind: str) -> list[dict]:
    """The rubrics that wordings.toml knows: config/ may hold others, made for other critics."""
    return [r for r in RUBRICS.values() if r["kind"] == kind and r["name"] in WORDINGS["rubrics"]]


def render(form: dict, fields: dict[str, str]) -> tuple[str, dict[str, int]]:
    """The text, and where each field's value begins in it.  Values are never scanned for fields."""
    out, at, size = [], {}, 0
    for part in form["parts"]:
        names = FIELD.findall(part)
        if any(not fields.get(n) for n in names):  # lacking or empty
            continue
        for i, bit in enumerate(FIELD.split(part)):
            if i % 2:
                at[bit] = size
                bit = fields[bit]
            out.append(bit)
            size += len(bit)
    return "".join(out), at
