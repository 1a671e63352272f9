"""Cases: a scene with a question and either one response to score, two to compare, or none (the answer itself is wanted)."""
from __future__ import annotations

import random
from dataclasses import dataclass, field

import oracle
import prompts
import talk
from scenes import Scene
from talk import WORDINGS, Question, Response


@dataclass
class Case:
    kind: str  # caption, pointwise, pairwise
    question: Question
    asked: str
    responses: list[Response]
    rubric: dict | None = None
    criteria: str = ""
    form: dict | None = None
    reference: str | None = None
    grades: list[int] = field(default_factory=list)
    verdict: str = ""
    reason: str = ""

    def fields(self) -> dict[str, str]:
        f = {"question": self.asked, "criteria": self.criteria}
        if self.reference:
            f["reference"] = self.reference
        if self.kind == "pointwise":
            s = self.rubric["scale"]
            return f | {"min": oracle.number(s["min"]), "max": oracle.number(s["max"]), "response": self.responses[0].text}
        return f | {"response_1": self.responses[0].text, "response_2": self.responses[1].text}


def judgment(scene: Scene, rng: random.Random, kind: str, held_out: bool = False, rubric: str | None = None,
             responses: list[Response] | None = None, question: Question | None = None, reference: bool | None = None,
             lesson: bool = False) -> Case:
    """A lesson differs from what is measured: any scale may stand under any criteria, so that the scale has to be read;
    and what is learned slowly (see LESSON_KINDS, ties) comes more often."""
    q = question or talk.questions(scene, rng, talk.LESSON_KINDS if lesson else talk.KINDS)
    r = prompts.RUBRICS[rubric] if rubric else rng.choice(prompts.rubrics(kind))
    if lesson and kind == "pointwise" and rng.random() < 0.5:
        r = dict(r, scale=rng.choice([x["scale"] for x in prompts.rubrics(kind)]))
    words = WORDINGS["rubrics"][r["name"]]
    criteria = rng.choice(words["held_out"]) if held_out else rng.choice([r["criteria"], r["criteria"], *words["train"]])
    if lesson:
        criteria = talk.vary(rng, criteria)
    form = rng.choice(prompts.formats(kind, held_out))
    asked, axis = talk.ask(rng, q, held_out, lesson), words["axis"]
    while True:
        rs = responses or [talk.respond(scene, q, rng) for _ in range(1 if kind == "pointwise" else 2)]
        grades = [oracle.grade(x, axis, q.kind) for x in rs]
        # Left alone nearly half of the pairs would tie; about a sixth should.
        if responses or kind == "pointwise" or grades[0] != grades[1] or rng.random() < (0.5 if lesson else 0.25):
            break
    case = Case(kind, q, asked, rs, r, criteria, form, grades=grades)
    if reference if reference is not None else rng.random() < 0.2:
        while True:
            ref = talk.respond(scene, q, rng, "none")
            if ref.style == "normal":
                break
        case.reference = ref.text
    if kind == "pointwise":
        s = r["scale"]
        case.verdict = oracle.number(oracle.score(grades[0], s["min"], s["max"], s["step"]))
        case.reason = oracle.reason(rs[0])
    else:
        case.verdict = oracle.preference(*grades)
        case.reason = oracle.reason_pair(*rs, case.verdict)
    return case


def caption(scene: Scene, rng: random.Random) -> Case:
    q = talk.questions(scene, rng)
    while True:
        r = talk.respond(scene, q, rng, "none")
        if r.style == "normal":
            return Case("caption", q, talk.ask(rng, q, lesson=True), [r])


def some(scene: Scene, rng: random.Random, n: int, captions: float, pairs: float = 0.36) -> list[Case]:
    out = []
    for _ in range(n):
        if rng.random() < captions:
            out.append(caption(scene, rng))
        else:
            out.append(judgment(scene, rng, "pairwise" if rng.random() < pairs else "pointwise", lesson=True))
    return out
