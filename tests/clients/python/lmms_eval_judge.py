"""lmms-eval's judges: each provider of its judge module by both of its conventions for the URL, and tasks that ask by
themselves.

What a package runs when it is imported whole (torch, transformers, data sets) is left out, and scikit-learn is a
stand-in: it aggregates what was judged."""

import ast
import asyncio
import importlib
import sys

import openai
import pytest
from absent import package_without_init, stand_in
from conftest import PICTURE, QUESTION, RIGHT, WRONG
from PIL import Image

stand_in("sklearn.linear_model")
for package in ("", ".models", ".models.model_utils", ".tasks", ".tasks.mmvet", ".tasks.wild_vision_bench"):
    package_without_init("lmms_eval" + package)
for task in ("charxiv", "mia_bench", "video_detail_description"):
    package_without_init("lmms_eval.tasks." + task)

BASE, FULL = "{}/v1", "{}/v1/chat/completions"
CONVENTIONS = [BASE, FULL]


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("HF_HOME", str(tmp_path))


def anew(name):
    """Imports a module that reads its environment when it is imported."""
    sys.modules.pop(name, None)
    return importlib.import_module(name)


def provider(kind, **options):
    from lmms_eval.llm_judge import ServerConfig, get_server

    config = ServerConfig(model_name="gpt-4o-2024-11-20", num_retries=1, retry_delay=0, **options)
    return get_server(kind, config)


def openai_provider(monkeypatch, address, convention, kind="openai"):
    monkeypatch.setenv("OPENAI_API_URL", convention.format(address))
    return provider(kind)


def azure_provider(monkeypatch, address, kind="azure"):
    monkeypatch.setenv("AZURE_ENDPOINT", address)
    monkeypatch.setenv("AZURE_API_KEY", "any")
    return provider(kind)


def local_provider(monkeypatch, address):
    monkeypatch.setenv("LLM_JUDGE_URL", FULL.format(address))
    return provider("local")


PROVIDERS = {
    "openai by its base": lambda patch, address: openai_provider(patch, address, BASE),
    "openai by its full URL": lambda patch, address: openai_provider(patch, address, FULL),
    "azure": azure_provider,
    "local": local_provider,
}


@pytest.fixture(params=PROVIDERS)
def judge(request, monkeypatch, address):
    judge = PROVIDERS[request.param](monkeypatch, address)
    assert judge.is_available()
    return judge


def test_binary(judge):
    asked = dict(question=QUESTION, answer="orange")
    results = [judge.evaluate_binary(prediction=prediction, **asked) for prediction in (RIGHT, WRONG)]
    for result in results:
        assert result["success"] and result["result"] in (0, 1)
        assert result["raw_response"] == str(result["result"]), "a 1 anywhere else would count as yes"
        assert result["model"]
    words = judge.evaluate_binary(prediction=RIGHT, output_format="yes/no", **asked)
    assert words["raw_response"] in ("Yes", "No"), "whatever else is written counts as no"
    assert words["result"] is (words["raw_response"] == "Yes")


def test_comparative(judge):
    result = judge.evaluate_comparative(QUESTION, RIGHT, WRONG, context="An orange circle.")
    assert all(1 <= score <= 10 for score in result["scores"]), result


@pytest.mark.parametrize("kind", ["openai", "azure"])
def test_comparative_with_a_picture(monkeypatch, address, kind):
    makers = {"openai": PROVIDERS["openai by its full URL"], "azure": azure_provider}
    judge = makers[kind](monkeypatch, address)
    blind = judge.evaluate_comparative(QUESTION, RIGHT, WRONG)
    for picture in (Image.open(PICTURE), str(PICTURE)):
        seeing = judge.evaluate_comparative(QUESTION, RIGHT, WRONG, images=[picture])
        assert all(1 <= score <= 10 for score in seeing["scores"]), seeing
        assert seeing["raw_response"] != blind["raw_response"], "the picture is seen"


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_many_at_once(monkeypatch, address, convention):
    judge = openai_provider(monkeypatch, address, convention, "async_openai")
    check_batch(judge)


def test_many_at_once_on_azure(monkeypatch, address):
    check_batch(azure_provider(monkeypatch, address, "async_azure"))


def check_batch(judge):
    predictions = [RIGHT, WRONG] * 10
    count = len(predictions)

    async def ask():
        binary = await judge.evaluate_binary_batch_async([QUESTION] * count, ["orange"] * count, predictions)
        pairs = await judge.evaluate_comparative_batch_async([QUESTION] * 4, [RIGHT] * 4, [WRONG] * 4)
        return binary, pairs

    binary, pairs = asyncio.run(ask())
    assert len(binary) == count and all(result["result"] in (0, 1) for result in binary)
    assert all(1 <= score <= 10 for pair in pairs for score in pair["scores"])


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_mm_vet(monkeypatch, address, convention):
    monkeypatch.setenv("OPENAI_API_URL", convention.format(address))
    task = anew("lmms_eval.tasks.mmvet.utils")
    document = {"question_id": "1", "question": QUESTION, "answer": "orange<OR>red", "capability": "rec"}
    # It asks forever as long as it does not find a number from 0 to 1.
    score = task.mmvet_process_results(document, [RIGHT])["gpt_eval_score"]
    assert 0 <= score["score"] <= 1 and score["eval_model"] == task.MODEL_VERSION


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_wild_vision(monkeypatch, address, convention):
    monkeypatch.setenv("OPENAI_API_URL", convention.format(address))
    task = anew("lmms_eval.tasks.wild_vision_bench.utils")
    document = {"instruction": QUESTION, "image": Image.open(PICTURE), task.BASELINE_MODEL_NAME: WRONG}
    result = task.wild_vision_process_results(document, [RIGHT])
    assert result["judgements_better"]["judgement"] in ("Worse", "Worse++", "Tie", "Better", "Better++")
    label = task.get_score(result["elo_scores"]["gpt_resps"], task.re.compile(r"\[\[([AB<>=]+)\]\]"))
    assert label[0] in ("A>>B", "A>B", "A=B", "B>A", "B>>A"), "one label, and no other one in the explanation"


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_video_detail_description(monkeypatch, address, convention):
    monkeypatch.setenv("OPENAI_API_URL", convention.format(address))
    task = anew("lmms_eval.tasks.video_detail_description.utils")
    document = {"video_name": "v", "question": QUESTION, "answer": RIGHT}
    result = task.video_detail_description_process_results_generic(document, [WRONG])["gpt_eval_score"]
    assert isinstance(ast.literal_eval(result["review"])["score"], int)
    assert result["score"] == ast.literal_eval(result["review"])["score"] and 0 <= result["score"] <= 5


@pytest.mark.parametrize("worth", [[10], [4, 6], [3, 3, 4]])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_mia_bench(monkeypatch, address, convention, worth):
    monkeypatch.setenv("OPENAI_API_URL", convention.format(address))
    task = anew("lmms_eval.tasks.mia_bench.utils")
    components = ["colour", "shape", "brevity"][: len(worth)]
    document = {"instruction": QUESTION, "components": components, "component_weight": worth[:]}
    scores = task.mia_bench_process_results(document, [RIGHT])["gpt_eval_score"]
    total = sum(scores[name] * most for name, most in zip(components, worth, strict=True))
    assert scores["total_score"] == pytest.approx(total / 10)
    # A failure would be no point for anything, which can be a judgement, too: what was answered is looked at itself.
    prompt = task.generate_prompt({**document, "component_weight": worth[:]}, RIGHT)
    answer, _ = task.get_eval(prompt, 64, retries=1)
    assert [f"{most}," in answer for most in worth] == [True] * len(worth) and "total score: " in answer


def test_charxiv(base_url):
    from lmms_eval.tasks.charxiv.constant import REASONING_GRADING_INST, REASONING_GRADING_PREFIX
    from lmms_eval.tasks.charxiv.reasoning_utils import get_reasoning_result_gpt

    client = openai.OpenAI(base_url=base_url, api_key="any", max_retries=0)
    question = REASONING_GRADING_INST[1].replace("<|question|>", QUESTION).replace("<|ground_truth|>", "orange")
    prompt = REASONING_GRADING_PREFIX + question.replace("<|response|>", RIGHT)
    answer, score = get_reasoning_result_gpt(client, prompt, model="gpt-4o", max_retries=1)
    assert isinstance(answer, str) and score in (0, 1)
