"""Picks a held-out scene for the README: the first that is rich enough and judged well.  python make_example.py --local DIR."""
from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import cases
import prompts
import scenes
import talk
from judges import Local


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--local", required=True)
    ap.add_argument("--out", type=Path, default=Path(__file__).parent / "examples")
    a = ap.parse_args()
    judge, plain = Local(a.local), lambda c: setattr(c, "criteria", c.rubric["criteria"]) or setattr(c, "form", prompts.formats(c.kind)[0]) or c
    for i in range(4000):
        rng = random.Random(f"example/{i}")
        scene = scenes.sample(rng)
        if len(scene.things) != 3 or not 1.3 < scene.width / scene.height < 1.8 or scene.width < 220:
            continue
        im = scenes.draw(scene)[0]
        lone = [t for t in scene.things if sum(x.shape == t.shape for x in scene.things) == 1]
        if len(lone) < 3:
            continue
        q = talk.Question("colour", {"shape": lone[0].shape}, [lone[0]])
        pair = []
        for fault in ("none", "wrong"):
            while True:
                r = talk.respond(scene, q, rng, fault)
                if r.style == "normal":
                    pair.append(r)
                    break
        one = [plain(cases.judgment(scene, rng, "pointwise", False, "helpfulness", [r], q, False)) for r in pair]
        two = plain(cases.judgment(scene, rng, "pairwise", False, "better", pair, q, False))
        for c in [*one, two]:
            c.asked = f"What colour is the {lone[0].shape}?"
        said = [judge.ask(im, c, True) for c in [*one, two]]
        good = [s.get("score") == float(c.verdict) for s, c in zip(said, one)] + [said[2].get("preference") == "first"]
        if not all(good) or pair[1].note.lower() not in said[1]["justification"].lower() or pair[1].note.lower() not in said[2]["justification"].lower():
            continue
        a.out.mkdir(parents=True, exist_ok=True)
        im.save(a.out / "scene.png")
        (a.out / "scene.json").write_text(json.dumps({
            "truth": scene.truth(), "question": two.asked, "right": pair[0].text, "wrong": pair[1].text, "fault": pair[1].note,
            "critic": {"helpfulness of the right one": said[0], "helpfulness of the wrong one": said[1], "better": said[2]}}, indent=1) + "\n")
        print(f"scene {i}: {two.asked} {said}")
        return
    raise SystemExit("no scene was judged well enough")


if __name__ == "__main__":
    main()
