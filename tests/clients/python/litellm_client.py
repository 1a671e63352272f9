"""litellm: completions as an OpenAI and as a vLLM server, and reranking in four dialects."""

import asyncio
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # prices come with the package, not from the network

import litellm  # noqa: E402
import pytest  # noqa: E402
from conftest import QUESTION, RIGHT, WRONG  # noqa: E402

ANSWERS = [WRONG, RIGHT, "I like music.", "The circle is green."]


def text(completion):
    return completion.choices[0].message.content


@pytest.fixture(params=["openai/gpt-4o", "hosted_vllm/llava-critic"])
def options(request, base_url):
    return dict(model=request.param, api_base=base_url, api_key="any", num_retries=0)


def test_completion(options, seen):
    whole = litellm.completion(messages=seen, max_tokens=24, **options)
    assert text(whole) and whole.choices[0].finish_reason in ("stop", "length")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    pieces, finish = [], None
    for chunk in litellm.completion(messages=seen, max_tokens=24, stream=True, **options):
        pieces.append(chunk.choices[0].delta.content or "")
        finish = chunk.choices[0].finish_reason or finish
    assert "".join(pieces) == text(whole) and finish == whole.choices[0].finish_reason


def test_async_completions(options, seen):
    async def ask():
        asked = [litellm.acompletion(messages=seen, max_tokens=8, **options) for _ in range(8)]
        return {text(completion) for completion in await asyncio.gather(*asked)}

    assert len(asyncio.run(ask())) == 1


def test_logprobs_and_choices(options, seen):
    completion = litellm.completion(
        messages=seen, max_tokens=6, n=2, temperature=1.0, seed=5, logprobs=True, top_logprobs=3, **options
    )
    assert len(completion.choices) == 2
    for choice in completion.choices:
        assert all(len(token.top_logprobs) == 3 for token in choice.logprobs.content)


def test_names_that_reason_have_another_bound(base_url, seen):
    completion = litellm.completion(
        model="openai/gpt-5", messages=seen, max_tokens=5, api_base=base_url, api_key="any", num_retries=0
    )
    assert text(completion) and completion.usage.completion_tokens <= 5


def test_errors_have_their_classes(options):
    long = [{"role": "user", "content": "word " * 9000}]
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(messages=long, **options)
    with pytest.raises(litellm.BadRequestError) as caught:
        litellm.completion(messages=[{"role": "user", "content": "?"}], temperature=9, **options)
    assert "temperature" in str(caught.value)


@pytest.mark.parametrize(
    "model, base",
    [
        ("hosted_vllm/x", "{}"),
        ("jina_ai/x", "{}/v1/rerank"),
        ("cohere/x", "{}/v2/rerank"),
        ("huggingface/x", "{}"),
    ],
)
def test_rerank(address, model, base):
    ranked = litellm.rerank(
        model=model, query=QUESTION, documents=ANSWERS, top_n=4, api_base=base.format(address), api_key="any"
    )
    order = [result["index"] for result in ranked.results]
    scores = [result["relevance_score"] for result in ranked.results]
    assert sorted(order) == [0, 1, 2, 3]
    assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
    alone = litellm.rerank(
        model=model, query=QUESTION, documents=ANSWERS[:1], api_base=base.format(address), api_key="any"
    )
    assert alone.results[0]["relevance_score"] == scores[order.index(0)], "one answer has one score in any company"


def test_the_best_few(address):
    ranked = litellm.rerank(
        model="hosted_vllm/x", query=QUESTION, documents=ANSWERS, top_n=2, api_base=address, api_key="any"
    )
    assert len(ranked.results) == 2
