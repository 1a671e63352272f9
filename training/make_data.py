"""Writes cases in the LLaVA-Critic JSON form with their pictures: python make_data.py --out DIR --pictures 500 --seed 7."""
from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import cases
import scenes
import words


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--pictures", type=int, default=500)
    ap.add_argument("--segments", type=int, default=4)
    ap.add_argument("--seed", type=int, default=7)
    a = ap.parse_args()
    (a.out / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(a.pictures):
        rng = random.Random(f"data-{a.seed}/{i}")
        scene = scenes.sample(rng)
        scenes.draw(scene)[0].save(a.out / "images" / f"{i:06}.png")
        for j, case in enumerate(cases.some(scene, rng, a.segments, 0.0)):
            reply, answer = words.answer_text(case)
            rows.append({"id": f"{i:06}-{j}", "image": f"images/{i:06}.png", "source": f"gavel-toy/{case.kind}",
                         "conversations": [{"from": "human", "value": "<image>\n" + words.prompt_text(case)[0]},
                                           {"from": "gpt", "value": reply + answer}]})
    (a.out / "data.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{len(rows)} judgments of {a.pictures} pictures in {a.out}")


if __name__ == "__main__":
    main()
