"""instructor, by which many judges ask: each of its ways to get an answer in a form, and nothing asked twice."""

import instructor
import openai
import pydantic
import pytest
from conftest import QUESTION, RIGHT


class Judgement(pydantic.BaseModel):
    """A judgement on an answer."""

    score: int
    correct: bool
    reason: str


# How it asks; with JSON the schema stands in the system's message alone.
MODES = ["TOOLS", "TOOLS_STRICT", "JSON_SCHEMA", "JSON"]


@pytest.mark.parametrize("mode", MODES)
def test_a_model_is_read_at_once(base_url, mode):
    requests = []
    plain = openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=120)
    client = instructor.from_openai(plain, mode=getattr(instructor.Mode, mode))
    client.on("completion:kwargs", lambda *_, **asked: requests.append(asked))
    for index in range(5):
        judgement = client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": f"{QUESTION} Answer {index}: {RIGHT}"}],
            response_model=Judgement,
            max_tokens=300,
        )
        assert isinstance(judgement, Judgement)
    assert len(requests) == 5, "each was read from the first answer"
