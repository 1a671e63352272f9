"""Writes the small labelled set of `tests/data/toy`, for `gavel evaluate`: python make_labelled.py --out ../tests/data/toy."""
from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import cases
import oracle
import prompts
import scenes
import talk
from cases import WORDINGS, Case

SIDES = {"1": "first", "2": "second", "tie": "tie"}
LARGEST_PICTURE = 14_000  # bytes; leaves out some noisy backgrounds, so that the set stays small


def default_words(case: Case) -> Case:
    case.criteria, case.form = case.rubric["criteria"], prompts.formats(case.kind)[0]
    return case


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--pictures", type=int, default=40)
    a = ap.parse_args()
    (a.out / "images").mkdir(parents=True, exist_ok=True)
    known = [r for kind in ("pointwise", "pairwise") for r in prompts.rubrics(kind) if r["name"] in WORDINGS["rubrics"] and r["criteria"]]
    points, pairs = ([r["name"] for r in known if r["kind"] == kind] for kind in ("pointwise", "pairwise"))
    rows, made, number = [], 0, 0
    while made < a.pictures:
        rng = random.Random(f"labelled/{number}")
        number += 1
        scene = scenes.sample(rng)
        path = a.out / "images" / f"{made:02}.png"
        scenes.draw(scene)[0].save(path, optimize=True)
        if path.stat().st_size > LARGEST_PICTURE:
            continue
        shared = {"image": f"images/{path.name}"}
        for part in range(2):
            c = default_words(cases.judgment(scene, rng, "pointwise", False, points[(made + 3 * part) % len(points)], reference=False))
            rows.append({"id": f"{made:02}-score-{part}", **shared, "question": c.asked, "response": c.responses[0].text,
                         "rubric": c.rubric["name"], "score": float(c.verdict)})
            c = default_words(cases.judgment(scene, rng, "pairwise", False, pairs[(made + part) % len(pairs)], reference=False))
            rows.append({"id": f"{made:02}-pair-{part}", **shared, "question": c.asked, "responses": [r.text for r in c.responses],
                         "rubric": c.rubric["name"], "preference": SIDES[c.verdict]})
        if made % 2 == 0:
            q = talk.questions(scene, rng)
            said = [talk.respond(scene, q, rng) for _ in range(5)]
            rows.append({"id": f"{made:02}-best", **shared, "question": talk.ask(rng, q), "responses": [r.text for r in said],
                         "scores": [oracle.grade(r, "overall", q.kind) for r in said]})
        made += 1
    (a.out / "labels.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"{len(rows)} labelled rows of {made} pictures in {a.out}")


if __name__ == "__main__":
    main()
