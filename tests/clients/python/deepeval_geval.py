"""deepeval's G-Eval, which weighs scores by their log-probabilities, on OpenAI's model class and on its local one.

Telemetry and tracing are stand-ins."""

import os

os.environ["DEEPEVAL_TELEMETRY_OPT_OUT"] = "YES"
os.environ["DEEPEVAL_DISABLE_DOTENV"] = "1"

from absent import stand_in  # noqa: E402

stand_in("posthog", "sentry_sdk", "grpc", "opentelemetry.trace", "opentelemetry.sdk.trace.export")
import pytest  # noqa: E402
from conftest import PICTURE, QUESTION, RIGHT, WRONG  # noqa: E402
from deepeval.metrics import GEval  # noqa: E402
from deepeval.models import LocalModel, OpenAIModel  # noqa: E402
from deepeval.test_case import LLMTestCase, MLLMImage, SingleTurnParams  # noqa: E402

PARAMETERS = [SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT, SingleTurnParams.EXPECTED_OUTPUT]


def metric(model):
    return GEval(
        name="Correctness",
        evaluation_steps=["Is the actual output what the expected output says?"],
        evaluation_params=PARAMETERS,
        model=model,
        async_mode=False,
    )


@pytest.fixture
def openai_model(base_url):
    return OpenAIModel(model="gpt-4o", base_url=base_url, api_key="any", temperature=0)


def case(answer, question=QUESTION):
    return LLMTestCase(input=question, actual_output=answer, expected_output=RIGHT)


def test_scores_are_weighed_by_their_probabilities(openai_model):
    scores = []
    for colour in ("red", "green", "blue", "orange", "purple"):
        measured = metric(openai_model)
        measured.measure(case(f"The circle is {colour}."))
        assert 0 <= measured.score <= 1 and measured.reason
        scores.append(measured.score)
    whole = [round(score * 10, 6) for score in scores]
    assert any(score != int(score) for score in whole), f"{whole} are all whole: nothing was weighed"


def test_a_case_with_a_picture(openai_model):
    measured = metric(openai_model)
    measured.measure(case(WRONG, f"{QUESTION} {MLLMImage(url=str(PICTURE), local=True)}"))
    assert 0 <= measured.score <= 1 and measured.reason


def test_a_local_model(base_url):
    measured = metric(LocalModel(model="llava-critic", base_url=base_url, api_key="any", temperature=0))
    measured.measure(case(RIGHT))
    assert 0 <= measured.score <= 1 and measured.reason
