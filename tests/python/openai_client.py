"""Calls a running server with the official openai package and checks what the package makes of the answers."""

import base64
import sys
from pathlib import Path

try:
    import openai
except ImportError:
    sys.exit("the openai package is missing from tests/.venv: `tests/run` installs it")


def main(base_url: str, image: Path) -> None:
    # No retries: a failure is what is looked at.
    client = openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60)
    url = "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()
    messages = [
        {"role": "system", "content": "You judge."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is shown?"},
                {"type": "image_url", "image_url": {"url": url}},
            ],
        },
    ]

    models = client.models.list().data
    assert len(models) == 1, models
    model = models[0].id
    assert client.models.retrieve(model).id == model

    whole = client.chat.completions.create(
        model=model, messages=messages, max_tokens=16, logprobs=True, top_logprobs=2
    )
    choice = whole.choices[0]
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason in ("stop", "length"), choice
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert whole.usage.prompt_tokens > 40, "the image takes tokens"
    data = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
    assert data.decode(errors="replace") == choice.message.content
    assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
    assert whole._request_id

    text, usage, finish = "", None, None
    for chunk in client.chat.completions.create(
        model=model, messages=messages, max_tokens=16, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for piece in chunk.choices:
            text += piece.delta.content or ""
            finish = piece.finish_reason or finish
    assert text == choice.message.content, (text, choice.message.content)
    assert finish == choice.finish_reason
    assert usage.total_tokens == whole.usage.total_tokens

    drawn = client.chat.completions.create(
        model=model, messages=messages, max_tokens=8, n=2, temperature=1.0, seed=3, extra_body={"top_k": 50}
    )
    assert [choice.index for choice in drawn.choices] == [0, 1]

    try:
        client.chat.completions.create(model=model, messages=messages, response_format={"type": "json_object"})
    except openai.BadRequestError as error:
        assert error.code == "unsupported_parameter" and error.param == "response_format", error
        assert "response_format" in str(error) and error.request_id
    else:
        raise AssertionError("a JSON format was asked for and not refused")

    try:
        client.with_options(base_url=base_url + "/nowhere").models.list()
    except openai.NotFoundError as error:
        assert error.code == "not_found", error
    else:
        raise AssertionError("a path that does not exist was found")
    print("all well")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
