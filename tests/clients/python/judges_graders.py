"""The judges package, which asks through instructor and a forced tool."""

import pytest
from conftest import QUESTION, RIGHT, WRONG
from judges.classifiers.correctness import PollMultihopCorrectness
from judges.graders.correctness import PrometheusAbsoluteCoarseCorrectness


@pytest.fixture(autouse=True)
def server(monkeypatch, base_url):
    monkeypatch.setenv("OPENAI_BASE_URL", base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "any")


@pytest.mark.parametrize("answer", [RIGHT, WRONG])
@pytest.mark.parametrize("kind", [PollMultihopCorrectness, PrometheusAbsoluteCoarseCorrectness])
def test_a_judgement_has_a_score_and_reasons(kind, answer):
    judgement = kind(model="openai/gpt-4o").judge(input=QUESTION, output=answer, expected=RIGHT)
    assert isinstance(judgement.score, (bool, int, str)) and isinstance(judgement.reasoning, str)
