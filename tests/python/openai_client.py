"""Calls a running server with the official openai package and checks what the package makes of the answers."""

import base64
import sys
from pathlib import Path

try:
    import openai
    from openai.types import Completion
    from openai.types.responses import Response
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

    continue_text(client, model)
    respond(client, model, url)

    try:
        client.chat.completions.create(model=model, messages=messages, prediction={"type": "content", "content": "x"})
    except openai.BadRequestError as error:
        assert error.code == "unsupported_parameter" and error.param == "prediction", error
        assert "prediction" in str(error) and error.request_id
    else:
        raise AssertionError("a prediction was given and not refused")

    try:
        client.with_options(base_url=base_url + "/nowhere").models.list()
    except openai.NotFoundError as error:
        assert error.code == "not_found", error
    else:
        raise AssertionError("a path that does not exist was found")
    print("all well")


def continue_text(client: openai.OpenAI, model: str) -> None:
    whole = client.completions.create(model=model, prompt=["It is", "A"], max_tokens=8, logprobs=2, n=2)
    Completion.model_validate(whole.model_dump())
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    assert all(len(choice.logprobs.tokens) == 8 for choice in whole.choices)
    assert whole.usage.completion_tokens == 32

    texts = [""] * 4
    for chunk in client.completions.create(
        model=model, prompt=["It is", "A"], max_tokens=8, n=2, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices], texts
    assert usage.total_tokens == whole.usage.total_tokens


def respond(client: openai.OpenAI, model: str, url: str) -> None:
    shown = [{"type": "input_text", "text": "What is shown?"}, {"type": "input_image", "image_url": url, "detail": "low"}]
    asked = dict(model=model, instructions="You judge.", input=[{"role": "user", "content": shown}], max_output_tokens=8)
    whole = client.responses.create(**asked, reasoning={"effort": "low", "summary": "auto"}, store=False)
    # The client takes whatever comes; its types are stricter.
    Response.model_validate(whole.model_dump())
    assert whole.output_text and whole.output[-1].content[-1].text == whole.output_text
    assert whole.status == "incomplete" and whole.incomplete_details.reason == "max_output_tokens"
    assert whole.usage.output_tokens == 8 and whole._request_id

    text, kinds = "", []
    with client.responses.stream(**asked) as events:
        for number, event in enumerate(events):
            kinds.append(event.type)
            assert event.sequence_number == number
            text += event.delta if event.type == "response.output_text.delta" else ""
        last = events.get_final_response() if kinds[-1] == "response.completed" else event.response
    assert text == whole.output_text == last.output_text, (text, whole.output_text)
    assert kinds[0] == "response.created" and kinds[-1] == "response.incomplete", kinds

    try:
        client.responses.create(**asked, previous_response_id="resp_1")
    except openai.BadRequestError as error:
        assert error.code == "unsupported_parameter" and error.param == "previous_response_id", error
    else:
        raise AssertionError("what is not kept was asked for and not refused")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
