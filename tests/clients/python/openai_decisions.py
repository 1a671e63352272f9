"""OpenAI's Python package and its decisions."""

import openai
import pytest
from conftest import QUESTION

MODEL = "gpt-6-luna"


@pytest.fixture
def client(base_url):
    return openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=120)


@pytest.fixture
def shown(data_url):
    """A message with a picture and a text."""
    parts = [
        {"type": "input_image", "image_url": data_url, "detail": "low"},
        {"type": "input_text", "text": "A scene."},
    ]
    return [{"type": "message", "role": "user", "content": parts}]


def test_every_type_of_question(client, shown):
    decision = client.decisions.create(
        model=MODEL,
        input=shown,
        questions=[
            {"type": "predicate", "name": "circle", "instructions": "There is a circle."},
            {
                "type": "choice",
                "instructions": [{"type": "input_text", "text": QUESTION}],
                "choices": [{"value": "orange", "description": "like the fruit"}, {"value": "purple"}],
            },
            {"type": "choice", "instructions": "Is it orange?", "choices": [{"value": True}, {"value": False}]},
            {"type": "score", "instructions": "How good?", "levels": [{"label": "bad"}, {"label": "good"}]},
        ],
        prompt_cache_key="k",
        prompt_cache_options={"mode": "implicit", "ttl": "30m"},
        safety_identifier="someone",
    )
    predicate, colour, orange, score = decision.answers
    assert decision.model == MODEL
    assert predicate.type == "predicate" and predicate.name == "circle" and 0 <= predicate.probability <= 1
    assert colour.type == "choice" and colour.choice in ("orange", "purple") and colour.name is None
    assert [one.value for one in colour.probabilities] == ["orange", "purple"]
    assert orange.choice is (orange.probabilities[0].probability > 0.5)
    assert [one.value for one in orange.probabilities] == [True, False]
    assert score.type == "score" and 0 <= score.score <= 1
    assert [(one.value, one.label) for one in score.probabilities] == [(0, "bad"), (1, "good")]
    for answer in (colour, orange, score):
        assert abs(sum(one.probability for one in answer.probabilities) - 1) < 1e-6
        assert 0 <= answer.confidence <= 1
    usage = decision.usage
    assert usage.input_tokens > 0 and usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens_details.cached_tokens > 0 and usage.input_tokens_details.cache_write_tokens == 0
    assert usage.output_tokens_details.reasoning_tokens == 0


def test_a_message_is_read_and_not_quoted(client, shown):
    questions = [{"type": "predicate", "instructions": "There is a circle."}]

    def count(input):
        decision = client.decisions.create(model=MODEL, input=input, questions=questions)
        return decision.usage.input_tokens

    text = count("A scene.")
    assert count([{"role": "user", "content": "A scene."}]) == text < count(shown)


def test_a_base_without_a_version(address):
    client = openai.OpenAI(base_url=address, api_key="any", max_retries=0, timeout=120)
    questions = [{"type": "predicate", "instructions": "It is round."}]
    assert client.decisions.create(model=MODEL, input="A circle.", questions=questions).answers[0].probability


def test_errors(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.decisions.create(
            model=MODEL,
            input="?",
            questions=[{"type": "choice", "instructions": "Which?", "choices": [{"value": "a"}]}],
        )
    assert caught.value.param == "questions[0].choices"
