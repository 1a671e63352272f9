"""Measures the critic on held-out scenes and wordings: python evaluate.py --url http://127.0.0.1:8080 [--out DIR]."""
from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau, pearsonr

import cases
import oracle
import prompts
import scenes
import talk
from cases import Case
from judges import Local, Server

TEXT_ALONE = ("vague", "off_topic")  # faults that show without the picture
SIDES = {"1": "first", "2": "second", "tie": "tie"}


def unit(x: float, scale: dict) -> float:
    return (x - scale["min"]) / (scale["max"] - scale["min"])


def make(n: int, held_out: bool) -> tuple[list, list, list]:
    """Pointwise cases, pairs, and five responses to one question; scenes come from seeds that training never draws."""
    points, pairs, fives = [], [], []
    for i in range(n):
        rng = random.Random(f"unseen/{i}")
        scene = scenes.sample(rng)
        im = scenes.draw(scene)[0]
        names = [r["name"] for r in prompts.rubrics("pointwise") if r["criteria"]]
        points.append((im, cases.judgment(scene, rng, "pointwise", held_out, names[i % len(names)], reference=False)))
        names = [r["name"] for r in prompts.rubrics("pairwise") if r["criteria"]]
        pairs.append((im, cases.judgment(scene, rng, "pairwise", held_out, names[i % len(names)], reference=False)))
        if i % 4 == 0:
            q = talk.questions(scene, rng)
            fives.append([(im, cases.judgment(scene, rng, "pointwise", held_out, "helpfulness", [talk.respond(scene, q, rng)], q, False))
                          for _ in range(5)])
    if not held_out:  # the default words and the default format
        for _, c in points + pairs + [x for five in fives for x in five]:
            c.criteria, c.form = c.rubric["criteria"], prompts.formats(c.kind)[0]
    return points, pairs, fives


def flip(case: Case) -> Case:
    return replace(case, responses=case.responses[::-1], grades=case.grades[::-1],
                   verdict={"1": "2", "2": "1", "tie": "tie"}[case.verdict])


def needs_picture(case: Case) -> bool:
    faults = [r.fault for r in case.responses]
    return not any(f in TEXT_ALONE for f in faults) and (case.kind == "pointwise" or any(f != "none" for f in faults))


def correlation(rows: list[tuple[float, float]]) -> dict:
    x = np.array(rows, float)
    if len(x) < 3 or x[:, 0].std() == 0 or x[:, 1].std() == 0:
        return {"n": len(x), "pearson": None, "kendall": None}
    return {"n": len(x), "pearson": round(float(pearsonr(x[:, 0], x[:, 1])[0]), 3),
            "kendall": round(float(kendalltau(x[:, 0], x[:, 1])[0]), 3), "exact": round(float((abs(x[:, 0] - x[:, 1]) < 0.05).mean()), 3)}


def share(rows: list[bool]) -> dict:
    return {"n": len(rows), "share": round(float(np.mean(rows)), 3) if rows else None}


def measure(judge, n: int, held_out: bool, threads: int) -> tuple[dict, list]:
    points, pairs, fives = make(n, held_out)
    pool = ThreadPoolExecutor(threads)
    ask = lambda rows: list(pool.map(lambda row: judge.ask(row[0], row[1], not held_out), rows))
    swap = lambda rows: [(rows[(i + 1) % len(rows)][0], case) for i, (_, case) in enumerate(rows)]
    got, lost = ask(points), ask(swap(points))
    there, back, blind = ask(pairs), ask([(im, flip(c)) for im, c in pairs]), ask(swap(pairs))
    best = ask([x for five in fives for x in five])

    scored = defaultdict(list)
    dots, unread, named = [], 0, defaultdict(list)
    for tag, answers in (("", got), ("swapped ", lost)):
        for (_, c), a in zip(points, answers):
            s = c.rubric["scale"]
            if a.get("score") is None:
                unread += 1
                continue
            dot = (unit(a["score"], s), unit(float(c.verdict), s))
            scored[tag + "all"].append(dot)
            if needs_picture(c):
                scored[tag + "picture needed"].append(dot)
            if tag:
                continue
            dots.append((*dot, c.question.kind))
            scored["rubric " + c.rubric["name"]].append(dot)
            scored["question " + c.question.kind].append(dot)
            r = c.responses[0]
            if r.fault not in ("none", *TEXT_ALONE):
                named["all"].append(r.note.lower() in a["justification"].lower())
                named["fault " + r.fault].append(named["all"][-1])
    chosen = defaultdict(list)
    for (_, c), a, b, s in zip(pairs, there, back, blind):
        want, ties = SIDES[c.verdict], c.verdict == "tie"
        turned = {"first": "second", "second": "first"}.get(b.get("preference"), b.get("preference"))
        chosen["with ties"].append(a.get("preference") == want)
        chosen["orders agree"].append(a.get("preference") == turned)
        chosen["swapped with ties"].append(s.get("preference") == want)
        if ties:
            chosen["ties found"].append(a.get("preference") == "tie")
            continue
        chosen["without ties"].append(a.get("preference") == want)
        chosen["swapped without ties"].append(s.get("preference") == want)
        chosen["question " + c.question.kind].append(a.get("preference") == want)
        if needs_picture(c):
            chosen["picture needed"].append(a.get("preference") == want)
            chosen["swapped picture needed"].append(s.get("preference") == want)
            # Leaving out the swapped verdicts that call a tie, a coin would get half of these right.
            if s.get("preference") != "tie":
                chosen["swapped picture needed, tie not called"].append(s.get("preference") == want)
    picks, means, tops = [], [], []
    for i, five in enumerate(fives):
        truth = [c.grades[0] / oracle.GRADES for _, c in five]
        marks = [a.get("score") if a.get("score") is not None else -1 for a in best[i * 5:i * 5 + 5]]
        picks.append(truth[int(np.argmax(marks))]), means.append(np.mean(truth)), tops.append(max(truth))
    return {
        "wordings": "held out" if held_out else "default", "scenes": n, "unreadable_scores": unread,
        "score": {k: correlation(v) for k, v in scored.items()}, "pair": {k: share(v) for k, v in chosen.items()},
        "fault_named": {k: share(v) for k, v in named.items()},
        "best_of_5": {"n": len(fives), "chosen": round(float(np.mean(picks)), 3), "average": round(float(np.mean(means)), 3),
                      "oracle": round(float(np.mean(tops)), 3)}}, dots


def show(figures: dict) -> None:
    print(f"\n== {figures['wordings']} wordings, {figures['scenes']} scenes, {figures['unreadable_scores']} scores unreadable")
    for k, v in sorted(figures["score"].items()):
        print(f"score  {k:<28} n={v['n']:<5} pearson={v['pearson']}  kendall={v['kendall']}  exact={v.get('exact')}")
    for part in ("pair", "fault_named"):
        for k, v in sorted(figures[part].items()):
            print(f"{part:<12} {k:<40} n={v['n']:<5} {v['share']}")
    b = figures["best_of_5"]
    print(f"best of 5    chosen {b['chosen']}, average {b['average']}, oracle's choice {b['oracle']} (n={b['n']})")


def scatter(dots: list, path: Path) -> None:
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    rng = np.random.default_rng(0)
    fig, ax = plt.subplots(figsize=(5, 5), dpi=120)
    for kind in sorted({d[2] for d in dots}):
        x = np.array([[d[1], d[0]] for d in dots if d[2] == kind]) + rng.normal(0, 0.012, (sum(d[2] == kind for d in dots), 2))
        ax.scatter(x[:, 0], x[:, 1], s=9, alpha=0.55, label=kind)
    ax.plot([0, 1], [0, 1], color="grey", lw=0.8)
    ax.set(xlabel="oracle's score", ylabel="critic's score", title="Scores on held-out scenes and wordings, all scales as 0 to 1\n(moved a little apart to show how many)")
    ax.title.set_fontsize(9)
    ax.legend(fontsize=7)
    fig.tight_layout()
    fig.savefig(path)


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--url", help="a running server")
    ap.add_argument("--local", help="instead of a server: a checkpoint folder")
    ap.add_argument("--scenes", type=int, default=400)
    ap.add_argument("--threads", type=int, default=4)
    ap.add_argument("--out", type=Path, help="where evaluation.json and scatter.png go")
    a = ap.parse_args()
    judge = Server(a.url) if a.url else Local(a.local)
    if a.out:
        a.out.mkdir(parents=True, exist_ok=True)
    found = []
    for held_out in (True, False):
        figures, dots = measure(judge, a.scenes, held_out, a.threads if a.url else 1)
        show(figures)
        found.append(figures)
        if a.out and held_out:
            scatter(dots, a.out / "scatter.png")
    if a.out:
        (a.out / "evaluation.json").write_text(json.dumps({"measured_through": "http" if a.url else "transformers", "figures": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
