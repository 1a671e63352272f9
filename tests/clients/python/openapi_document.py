"""Schemathesis: requests made from the server's own API document, and answers held to it by all its checks.

Requests are drawn the same in every run. Of those that are drawn, one check is left out, `positive_data_acceptance`: that
everything is accepted which fits the schemas. What depends on several fields or on the critic (one response or two, a
token of its vocabulary, a picture that can be decoded, a prompt that is not too long) is refused with 400 by its name, and
no schema can tell it. The document's own examples must be accepted. What stands in events is left out, too: OpenAPI 3.1
cannot say it, and schemathesis reads their schema as later versions mean it."""

import json
import subprocess
import sys
import urllib.request

import pytest

EXAMPLES = 25


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """What it keeps of a run stands in the folder that it runs in."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def document(address, tmp_path):
    """The document, in which streams have no schema, and the file that it stands in."""
    with urllib.request.urlopen(address + "/openapi.json") as answer:
        document = json.load(answer)
    for operation in operations(document):
        for response in operation["responses"].values():
            if "text/event-stream" in response.get("content", {}):
                response["content"]["text/event-stream"] = {}
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document))
    return document, file


def operations(document):
    return [operation for methods in document["paths"].values() for operation in methods.values()]


def schemathesis(address, file, *options):
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(file), "--url", address, "--no-color"]
    # How fast it answers is not tested: on a busy machine, a long text takes longer than the usual ten seconds.
    times = ["--request-timeout", "60", "--max-response-time", "60"]
    fixed = ["--generation-deterministic", "--continue-on-failure", *times, "--checks", "all"]
    run = subprocess.run(command + fixed + list(options), capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_examples_are_accepted_and_answered_as_documented(address, document):
    document, file = document
    with_body = sum("requestBody" in operation for operation in operations(document))
    said = schemathesis(address, file, "--phases", "examples")
    tested = int(said.split("Tested: ")[1].split()[0])
    assert with_body > 10 and tested >= with_body, said


def test_whatever_fits_the_document_or_does_not_is_answered_as_documented(address, document):
    document, file = document
    left_out = ["--exclude-checks", "positive_data_acceptance"]
    said = schemathesis(
        address, file, "--phases", "coverage,fuzzing", "--max-examples", str(EXAMPLES), *left_out
    )
    assert said.count(f"✅ {len(operations(document))} passed") == 2, said
