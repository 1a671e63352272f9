"""OpenAI's Python package and work in files: what is uploaded is judged, and the answers come back as a file."""

import json
import time

import openai
import pytest
from conftest import QUESTION

MODEL = "gpt-4o"


@pytest.fixture
def client(base_url):
    return openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60)


def line(name, **body):
    message = {"role": "user", "content": f"{QUESTION} {name}"}
    body = {"model": MODEL, "messages": [message], "max_tokens": 8} | body
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def upload(client, lines):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return client.files.create(file=("cases.jsonl", text.encode()), purpose="batch")


def finished(client, batch):
    deadline = time.monotonic() + 120
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() < deadline, batch
        time.sleep(0.05)
        batch = client.batches.retrieve(batch.id)
    return batch


def lines_of(client, file):
    return [json.loads(line) for line in client.files.content(file).text.splitlines()]


def test_files_come_and_go(client):
    file = upload(client, [line("one")])
    assert (file.filename, file.purpose, file.object) == ("cases.jsonl", "batch", "file") and file.bytes > 0
    assert client.files.retrieve(file.id).id == file.id
    assert file.id in [other.id for other in client.files.list(purpose="batch")]
    assert lines_of(client, file.id)[0]["custom_id"] == "one"
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_a_batch_is_judged(client):
    names = [f"case-{index}" for index in range(20)]
    file = upload(client, [line(name) for name in names] + [line("wrong", temperature=9)])
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"run": "one"},
    )
    assert batch.object == "batch" and batch.metadata == {"run": "one"}
    batch = finished(client, batch)
    assert batch.status == "completed" and batch.completed_at
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (21, 20, 1)
    answers = {answer["custom_id"]: answer for answer in lines_of(client, batch.output_file_id)}
    assert set(names) <= set(answers)
    alone = client.chat.completions.create(**line("case-0")["body"]).choices[0].message.content
    body = answers["case-0"]["response"]["body"]
    assert answers["case-0"]["response"]["status_code"] == 200 and answers["case-0"]["error"] is None
    assert body["choices"][0]["message"]["content"] == alone
    (failure,) = lines_of(client, batch.error_file_id)
    assert failure["custom_id"] == "wrong" and failure["response"]["status_code"] == 400
    assert batch.id in [other.id for other in client.batches.list(limit=10)]


def test_a_batch_is_cancelled(client):
    file = upload(client, [line(f"case-{index}", max_tokens=400) for index in range(200)])
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    assert finished(client, batch).status == "cancelled"


def test_a_file_that_is_no_batch_fails_with_its_line(client):
    file = client.files.create(file=("cases.jsonl", b"no json\n"), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    batch = finished(client, batch)
    assert batch.status == "failed" and batch.errors.data[0].line == 1 and batch.errors.data[0].message
