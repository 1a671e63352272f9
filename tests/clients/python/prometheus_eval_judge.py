"""Prometheus-eval's judge over litellm: absolute and relative grades, one after the other and all at once.

FastChat, of which its judge imports the conversation of a local model, is a stand-in."""

import pytest
from absent import stand_in
from conftest import RIGHT, WRONG

stand_in("fastchat.conversation")
from prometheus_eval import PrometheusEval  # noqa: E402
from prometheus_eval.litellm import AsyncLiteLLM, LiteLLM  # noqa: E402
from prometheus_eval.prompts import (  # noqa: E402
    ABSOLUTE_PROMPT,
    ABSOLUTE_PROMPT_WO_REF,
    RELATIVE_PROMPT,
    RELATIVE_PROMPT_WO_REF,
    SCORE_RUBRIC_TEMPLATE,
)

INSTRUCTION = "What colour is the circle in the picture?"
RUBRIC = SCORE_RUBRIC_TEMPLATE.format(
    criteria="Is the answer right?",
    **{f"score{score}_description": f"{score} of 5 parts are right." for score in range(1, 6)},
)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "any")


def judge(base_url, model=LiteLLM, reference=True):
    absolute, relative = ABSOLUTE_PROMPT, RELATIVE_PROMPT
    if not reference:
        absolute, relative = ABSOLUTE_PROMPT_WO_REF, RELATIVE_PROMPT_WO_REF
    return PrometheusEval(
        model=model("openai/gpt-4o", api_base=base_url),
        absolute_grade_template=absolute,
        relative_grade_template=relative,
    )


@pytest.mark.parametrize("reference", [True, False], ids=["reference", "no reference"])
def test_single_grades(base_url, reference):
    asking = judge(base_url, reference=reference)
    known = {"reference_answer": RIGHT} if reference else {}
    feedback, score = asking.single_absolute_grade(
        instruction=INSTRUCTION, response=WRONG, rubric=RUBRIC, params={}, **known
    )
    assert score in range(1, 6) and feedback
    feedback, winner = asking.single_relative_grade(
        instruction=INSTRUCTION, response_A=RIGHT, response_B=WRONG, rubric=RUBRIC, params={}, **known
    )
    assert winner in ("A", "B") and feedback


def test_many_grades_at_once(base_url):
    asking = judge(base_url, AsyncLiteLLM)
    answers = [f"The circle is {colour}." for colour in ("red", "green", "blue", "orange")] * 8
    count = len(answers)
    feedbacks, scores = asking.absolute_grade(
        instructions=[INSTRUCTION] * count,
        responses=answers,
        rubric=RUBRIC,
        reference_answers=[RIGHT] * count,
        params={},
    )
    assert len(scores) == count and set(scores) <= set(range(1, 6)) and all(feedbacks)


def test_nothing_is_asked_again(base_url, capsys):
    asking = judge(base_url)
    _, scores = asking.relative_grade(
        instructions=[INSTRUCTION] * 10,
        responses_A=[RIGHT] * 10,
        responses_B=[WRONG] * 10,
        rubric=RUBRIC,
        reference_answers=[RIGHT] * 10,
        params={},
    )
    assert set(scores) <= {"A", "B"}
    assert "Retrying" not in capsys.readouterr().out
