"""verdict's judges over litellm: a score by a forced tool, and one that weighs all scores by their probability."""

import pytest
from verdict import Pipeline
from verdict.common.judge import JudgeUnit, PairwiseJudgeUnit
from verdict.extractor import WeightedSummedScoreExtractor
from verdict.model import vLLMModel
from verdict.scale import DiscreteScale
from verdict.schema import Schema

PROMPT = "Rate the answer from 1 to 5.\nQuestion: {source.question}\nAnswer: {source.answer}\nScore:"
CASE = {"question": "What colour is the circle?", "answer": "The circle is orange."}


def run(base_url, unit):
    model = vLLMModel("llava-critic", api_base=base_url, api_key="any")
    found, _ = (Pipeline() >> unit.via(model, retries=1)).run(Schema.of(**CASE), max_workers=2, display=False)
    return found


def values(found, field):
    return [value for name, value in found.items() if name.endswith(field)]


def test_a_score(base_url):
    unit = JudgeUnit(DiscreteScale((1, 5))).prompt(PROMPT)
    (score,) = values(run(base_url, unit), "score")
    assert isinstance(score, int)


def test_a_score_with_an_explanation(base_url):
    unit = JudgeUnit(DiscreteScale((1, 5)), explanation=True).prompt(PROMPT)
    found = run(base_url, unit)
    # The schema that it sends has no bounds.
    assert isinstance(values(found, "score")[0], int) and isinstance(values(found, "explanation")[0], str)


def test_a_preference(base_url):
    unit = PairwiseJudgeUnit().prompt("Which is better, A or B?\nA: {source.answer}\nB: I like music.")
    (choice,) = values(run(base_url, unit), "choice")
    assert isinstance(choice, str)


def test_a_mean_of_all_scores(base_url):
    unit = JudgeUnit(DiscreteScale((1, 5))).extract(WeightedSummedScoreExtractor()).prompt(PROMPT)
    (score,) = values(run(base_url, unit), "score")
    assert 1 <= score <= 5 and score != pytest.approx(round(score))
