"""lmms-eval's judge by a rubric, which reads JSON out of the answer: one at a time and many at once."""

import asyncio

import pytest
from absent import package_without_init
from conftest import QUESTION, RIGHT, WRONG

for package in ("", ".models", ".models.model_utils"):
    package_without_init("lmms_eval" + package)
from lmms_eval.llm_judge import ServerConfig, get_server  # noqa: E402

RUBRIC = {"accuracy": "from 1 to 5", "helpfulness": "from 1 to 5"}
PROVIDERS = ["openai", "azure"]


@pytest.fixture(autouse=True)
def environment(monkeypatch, address, base_url):
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("OPENAI_API_URL", base_url)
    monkeypatch.setenv("AZURE_ENDPOINT", address)
    monkeypatch.setenv("AZURE_API_KEY", "any")


def provider(kind):
    config = ServerConfig(model_name="gpt-4o", num_retries=1, retry_delay=0, response_format="json")
    return get_server(kind, config)


@pytest.mark.parametrize("kind", PROVIDERS)
def test_by_a_rubric(kind):
    for prediction in (RIGHT, WRONG):
        result = provider(kind).evaluate_with_rubric(QUESTION, prediction, RUBRIC)
        assert result["success"] and isinstance(result["scores"], dict)
        assert result["raw_response"].startswith("{") and result["raw_response"].endswith("}"), "bare JSON"


@pytest.mark.parametrize("kind", ["async_openai", "async_azure"])
def test_many_by_a_rubric(kind):
    async def ask():
        judge = provider(kind)
        return await asyncio.gather(
            *(judge.evaluate_with_rubric_async(QUESTION, answer, RUBRIC) for answer in [RIGHT, WRONG] * 5)
        )

    assert all(isinstance(result["scores"], dict) for result in asyncio.run(ask()))
