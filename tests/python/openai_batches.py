"""Keeps files and runs batches on a running server with the official openai package, as a user of it would."""

import base64
import json
import sys
import time
from pathlib import Path

try:
    import openai
except ImportError:
    sys.exit("the openai package is missing from tests/.venv: `tests/run` installs it")


def lines(requests: list[dict]) -> bytes:
    return "".join(json.dumps(request) + "\n" for request in requests).encode()


def ended(client: openai.OpenAI, batch: str) -> openai.types.Batch:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = client.batches.retrieve(batch)
        if found.status in ("completed", "failed", "expired", "cancelled"):
            return found
        time.sleep(0.05)
    sys.exit(f"the batch has not ended: {client.batches.retrieve(batch)}")


def refused(kind: type[openai.APIStatusError], call, *arguments, **options) -> openai.APIStatusError:
    try:
        answer = call(*arguments, **options)
    except kind as error:
        return error
    sys.exit(f"this should have been refused: {answer}")


def files(client: openai.OpenAI) -> None:
    content = bytes(range(256)) * 2000
    file = client.files.create(file=("data.bin", content), purpose="user_data")
    assert file.object == "file" and file.status == "processed" and file.id.startswith("file-"), file
    assert (file.bytes, file.filename, file.purpose) == (len(content), "data.bin", "user_data"), file
    assert abs(file.created_at - time.time()) < 60 and file.expires_at > file.created_at, file
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == content
    short = client.files.create(
        file=b"x", purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert short.expires_at == short.created_at + 3600, short

    made = [client.files.create(file=str(index).encode(), purpose="assistants").id for index in range(5)]
    page = client.files.list(purpose="assistants", limit=2, order="asc")
    assert [found.id for found in page.data] == made[:2] and page.has_more, page
    # The package asks for the other pages by itself.
    assert [found.id for found in client.files.list(purpose="assistants", limit=2, order="asc")] == made
    assert [found.id for found in client.files.list(purpose="assistants", limit=2)] == made[::-1]
    deleted = client.files.delete(made[0])
    assert deleted.deleted and deleted.id == made[0], deleted
    error = refused(openai.NotFoundError, client.files.retrieve, made[0])
    assert made[0] in error.message, error
    refused(openai.NotFoundError, client.files.content, made[0])
    error = refused(openai.BadRequestError, client.files.create, file=b"x", purpose="nonsense")
    assert error.param == "purpose" and "vision" in error.message, error


def batches(client: openai.OpenAI, image: str) -> None:
    def request(name: str, body: dict) -> dict:
        return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}

    def chat(content: object, **options: object) -> dict:
        return {
            "model": "any",
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 8,
            **options,
        }

    shown = [
        {"type": "text", "text": "What is shown?"},
        {"type": "image_url", "image_url": {"url": image}},
    ]
    requests = [request(f"text {index}", chat(f"Say {index}.")) for index in range(20)]
    requests.append(request("image", chat(shown)))
    # One that makes no sense as a request, one whose role is none, and one that wants a stream.
    requests.append(request("empty", {"messages": []}))
    requests.append(request("stream", chat("Go on.", stream=True)))
    input_file = client.files.create(file=("in.jsonl", lines(requests)), purpose="batch")
    batch = client.batches.create(
        input_file_id=input_file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"run": "one"},
    )
    assert batch.object == "batch" and batch.status == "validating", batch
    assert batch.endpoint == "/v1/chat/completions" and batch.input_file_id == input_file.id, batch
    assert batch.expires_at == batch.created_at + 24 * 3600 and batch.metadata == {"run": "one"}, batch
    batch = ended(client, batch.id)
    assert batch.status == "completed" and batch.errors is None, batch
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (23, 21, 2), batch
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at, batch
    assert batch.model, batch

    answers = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    assert [answer["custom_id"] for answer in answers] == [f"text {index}" for index in range(20)] + ["image"]
    total = 0
    for answer in answers:
        assert set(answer) == {"id", "custom_id", "response", "error"}, answer
        assert answer["id"].startswith("batch_req_") and answer["error"] is None, answer
        assert answer["response"]["status_code"] == 200 and answer["response"]["request_id"], answer
        completion = openai.types.chat.ChatCompletion.model_validate(answer["response"]["body"])
        assert completion.choices[0].message.content, answer
        total += completion.usage.total_tokens
    assert len({answer["id"] for answer in answers}) == len(answers)
    usage = batch.usage
    assert usage.total_tokens == total == usage.input_tokens + usage.output_tokens, (usage, total)
    # A line is answered as a request is.
    alone = client.chat.completions.create(**requests[3]["body"])
    assert answers[3]["response"]["body"]["choices"][0]["message"]["content"] == alone.choices[0].message.content

    errors = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    assert [error["custom_id"] for error in errors] == ["empty", "stream"], errors
    for error in errors:
        assert error["error"] is None and error["response"]["status_code"] == 400, error
        assert error["response"]["body"]["error"]["message"], error
    for output in (batch.output_file_id, batch.error_file_id):
        assert client.files.retrieve(output).purpose == "batch_output"

    wrong = requests[:3] + [requests[0], {**requests[1], "custom_id": "x", "method": "GET"}]
    wrong_file = client.files.create(file=("wrong.jsonl", lines(wrong) + b"{no json\n"), purpose="batch")
    failed = client.batches.create(
        input_file_id=wrong_file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    failed = ended(client, failed.id)
    assert failed.status == "failed" and failed.failed_at and failed.output_file_id is None, failed
    told = [(error.line, error.code, error.param) for error in failed.errors.data]
    assert told == [
        (4, "duplicate_custom_id", "custom_id"),
        (5, "invalid_method", "method"),
        (6, "invalid_json_line", None),
    ], told
    assert all(error.message for error in failed.errors.data)

    page = client.batches.list(limit=1)
    assert [found.id for found in page.data] == [failed.id] and page.has_more, page
    assert [found.id for found in client.batches.list(limit=1)] == [failed.id, batch.id]
    assert client.batches.cancel(batch.id) == batch, "one that has ended stays as it is"
    error = refused(
        openai.BadRequestError,
        client.batches.create,
        input_file_id=input_file.id,
        endpoint="/v1/images",
        completion_window="24h",
    )
    assert error.param == "endpoint" and "/judge" in error.message, error
    error = refused(
        openai.BadRequestError,
        client.batches.create,
        input_file_id="file-0",
        endpoint="/judge",
        completion_window="24h",
    )
    assert error.param == "input_file_id", error

    # A long one is stopped: what was done is there, and nothing else.
    long = [request(str(index), chat(f"Go on, {index}.", max_tokens=400, ignore_eos=True)) for index in range(200)]
    long_file = client.files.create(file=("long.jsonl", lines(long)), purpose="batch")
    stopped = client.batches.create(
        input_file_id=long_file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    error = refused(openai.BadRequestError, client.files.delete, long_file.id)
    assert error.code == "file_in_use", error
    stopped = client.batches.cancel(stopped.id)
    assert stopped.status in ("cancelling", "cancelled"), stopped
    stopped = ended(client, stopped.id)
    assert stopped.status == "cancelled" and stopped.cancelling_at <= stopped.cancelled_at, stopped
    assert stopped.request_counts.completed < 200, stopped
    assert client.batches.cancel(stopped.id).status == "cancelled"
    assert client.files.delete(long_file.id).deleted


def main(base_url: str, image: Path) -> None:
    # No retries: a failure is what is looked at.
    client = openai.OpenAI(base_url=base_url, api_key="one", max_retries=0, timeout=60)
    url = "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()
    files(client)
    batches(client, url)

    # Another key sees none of it.
    other = openai.OpenAI(base_url=base_url, api_key="another", max_retries=0, timeout=60)
    file, batch = client.files.list().data[0].id, client.batches.list().data[0].id
    assert other.files.list().data == [] and other.batches.list().data == []
    for call in (other.files.retrieve, other.files.content, other.files.delete):
        refused(openai.NotFoundError, call, file)
    for call in (other.batches.retrieve, other.batches.cancel):
        refused(openai.NotFoundError, call, batch)
    print("all well")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
