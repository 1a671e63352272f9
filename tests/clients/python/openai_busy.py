"""OpenAI's Python package at a server whose waiting line is full: it is told so, comes back, and gets its answers."""

import concurrent.futures

import openai
import pytest

ASKED = dict(
    model="gpt-4o",
    messages=[{"role": "user", "content": "What is shown?"}],
    max_tokens=100,
    extra_body={"ignore_eos": True},
)
CROWD = 12


def ask(client):
    try:
        return client.chat.completions.create(**ASKED)
    except openai.OpenAIError as error:
        return error


def crowd(client):
    with concurrent.futures.ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(ask, [client] * CROWD))


@pytest.fixture
def client(base_url):
    return openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60)


def test_without_retries_some_are_refused(client):
    answers = crowd(client)
    refused = [answer for answer in answers if isinstance(answer, openai.OpenAIError)]
    assert refused and len(refused) < CROWD
    for error in refused:
        assert isinstance(error, openai.RateLimitError), error
        assert error.code == "rate_limit_exceeded" and error.type == "rate_limit_error"
        assert "Rate limit" in str(error), "some programs look for these words"
        assert 1 <= int(error.response.headers["retry-after"]) <= 20
        assert error.request_id


def test_with_retries_all_are_answered(client):
    answers = crowd(client.with_options(max_retries=30))
    texts = {answer.choices[0].message.content for answer in answers}
    assert len(texts) == 1 and texts.pop()
