"""OpenAI's Python package: the synchronous, the asynchronous and the Azure client."""

import asyncio
import math

import openai
import pytest

# The name of the model that is asked for changes nothing.
MODEL = "gpt-4o"


@pytest.fixture
def client(base_url):
    # No retries: a failure is what is looked at.
    return openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60)


def text(completion):
    return completion.choices[0].message.content


def test_models(client):
    models = client.models.list().data
    assert [model.id for model in models] == ["gavel-mini"]
    assert client.models.retrieve("gavel-mini").owned_by
    assert client.models.retrieve(MODEL).id == MODEL


def test_chat(client, seen):
    completion = client.chat.completions.create(model=MODEL, messages=seen, max_tokens=24)
    (choice,) = completion.choices
    assert choice.message.role == "assistant" and choice.message.content and choice.message.refusal is None
    assert choice.finish_reason in ("stop", "length")
    assert completion.model == MODEL and completion.system_fingerprint.split("@")[0] == "gavel-mini"
    usage = completion.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens > 60, "the picture takes tokens"
    assert completion._request_id
    again = client.chat.completions.create(model=MODEL, messages=seen, max_tokens=24)
    assert text(again) == text(completion) and again._request_id != completion._request_id


def test_stream(client, seen):
    options = dict(model=MODEL, messages=seen, max_tokens=24)
    whole = client.chat.completions.create(**options)
    pieces, usage, finish = [], None, None
    for chunk in client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for piece in chunk.choices:
            pieces.append(piece.delta.content or "")
            finish = piece.finish_reason or finish
    assert "".join(pieces) == text(whole) and len(pieces) > 3
    assert finish == whole.choices[0].finish_reason
    assert usage.total_tokens == whole.usage.total_tokens
    # The package's own way to put a stream together; it takes no text that was cut off.
    options["max_tokens"] = 400
    whole = client.chat.completions.create(**options)
    assert whole.choices[0].finish_reason == "stop"
    with client.chat.completions.stream(**options) as stream:
        final = stream.get_final_completion()
    assert text(final) == text(whole)


def test_async(base_url, seen):
    async def ask():
        async with openai.AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
            asked = [
                client.chat.completions.create(model=MODEL, messages=seen, max_tokens=16) for _ in range(8)
            ]
            whole = [text(completion) for completion in await asyncio.gather(*asked)]
            stream = await client.chat.completions.create(model=MODEL, messages=seen, max_tokens=16, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return whole, "".join(pieces)

    whole, streamed = asyncio.run(ask())
    assert set(whole) == {streamed}


def test_choices(client, seen):
    options = dict(model=MODEL, messages=seen, max_tokens=12, n=4, temperature=1.5, extra_body={"top_k": 200})

    def drawn(seed):
        completion = client.chat.completions.create(**options, seed=seed)
        assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
        return [choice.message.content for choice in completion.choices]

    first = drawn(3)
    assert first == drawn(3)
    assert first != drawn(4)


def test_stop(client, seen):
    whole = text(client.chat.completions.create(model=MODEL, messages=seen, max_tokens=24))
    middle = whole[len(whole) // 2 :][:3]
    stopped = client.chat.completions.create(model=MODEL, messages=seen, max_tokens=24, stop=[middle])
    assert text(stopped) == whole.split(middle)[0] and stopped.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("top", [0, 5, 20])
def test_logprobs(client, seen, top):
    completion = client.chat.completions.create(
        model=MODEL, messages=seen, max_tokens=12, logprobs=True, top_logprobs=top
    )
    choice = completion.choices[0]
    tokens = choice.logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode(errors="replace") == choice.message.content
    for token in tokens:
        assert token.logprob <= 0 and len(token.top_logprobs) == top
        assert sum(math.exp(other.logprob) for other in token.top_logprobs) < 1 + 1e-5


def test_a_stream_that_fails_raises(client):
    # Its time is over long before its text is.
    stream = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Go on."}],
        max_tokens=3000,
        stream=True,
        extra_body={"ignore_eos": True},
        extra_headers={"x-request-timeout-ms": "300"},
    )
    pieces = []
    with pytest.raises(openai.APIError) as caught:
        for chunk in stream:
            pieces.append(chunk)
    assert len(pieces) > 1 and all(chunk.choices[0].finish_reason is None for chunk in pieces)
    assert caught.value.code == "deadline_exceeded"


def test_errors(client, seen):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=seen, temperature=7)
    error = caught.value
    assert (error.param, error.type) == ("temperature", "invalid_request_error")
    assert error.request_id and "temperature" in str(error)

    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 9000}])
    assert caught.value.code == "context_length_exceeded" and "Please reduce" in str(caught.value)

    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [picture]}])
    assert "You uploaded an unsupported image." in str(caught.value)

    with pytest.raises(openai.NotFoundError) as caught:
        client.with_options(base_url=str(client.base_url) + "nowhere").models.list()
    assert caught.value.code == "not_found" and caught.value.request_id


def test_azure(address, seen):
    client = openai.AzureOpenAI(
        azure_endpoint=address, api_key="any", api_version="2024-06-01", max_retries=0, timeout=60
    )
    completion = client.chat.completions.create(model="a-deployment", messages=seen, max_tokens=8)
    assert text(completion) and completion.usage.completion_tokens <= 8
    assert [model.id for model in client.models.list().data] == ["gavel-mini"]


def test_raw_response(client, seen):
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=seen, max_tokens=4)
    assert raw.headers["content-type"] == "application/json" and raw.headers["x-request-id"]
    assert text(raw.parse())
