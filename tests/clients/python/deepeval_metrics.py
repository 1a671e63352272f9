"""deepeval's metrics that ask for answers by a schema, several for each case.

Telemetry and tracing are stand-ins."""

import os

os.environ["DEEPEVAL_TELEMETRY_OPT_OUT"] = "YES"
os.environ["DEEPEVAL_DISABLE_DOTENV"] = "1"

from absent import stand_in  # noqa: E402

stand_in("posthog", "sentry_sdk", "grpc", "opentelemetry.trace", "opentelemetry.sdk.trace.export")
from conftest import QUESTION, RIGHT  # noqa: E402
from deepeval.metrics import AnswerRelevancyMetric  # noqa: E402
from deepeval.models import OpenAIModel  # noqa: E402
from deepeval.test_case import LLMTestCase  # noqa: E402


def test_answer_relevancy(base_url):
    model = OpenAIModel(model="gpt-4o", base_url=base_url, api_key="any", temperature=0)
    measured = AnswerRelevancyMetric(model=model, async_mode=False)
    measured.measure(LLMTestCase(input=QUESTION, actual_output=RIGHT))
    assert 0 <= measured.score <= 1 and isinstance(measured.reason, str)
    assert isinstance(measured.statements, list) and isinstance(measured.verdicts, list)
