"""FastChat's MT-bench judges on version 0.28 of OpenAI's package, also by Azure, where no body names a model.

Its templates of prompts are not in the package: here the sentences of them stand by which the server knows them. The
adapters of local models, and with them torch and transformers, are a stand-in with the two lists that the judge asks."""

import pathlib
import sys
import tomllib

import pytest
from absent import stand_in
from conftest import QUESTION, RIGHT, ROOT, WRONG

stand_in("anthropic", "fastchat.model.model_adapter")
del sys.modules["fastchat"]  # the package itself is there
import openai  # noqa: E402
from fastchat.conversation import get_conv_template  # noqa: E402

adapter = sys.modules["fastchat.model.model_adapter"]
adapter.OPENAI_MODEL_LIST = ["gpt-4", "azure-gpt-4"]
adapter.ANTHROPIC_MODEL_LIST = []
adapter.get_conversation_template = lambda model: get_conv_template("chatgpt")
from fastchat.llm_judge import common  # noqa: E402

assert openai.__version__ == "0.28.1"
COLOURS = ("red", "green", "blue", "orange", "purple")


def sentences(form):
    text = pathlib.Path(ROOT / "config" / "forms" / f"{form}.toml").read_text()
    return " ".join(tomllib.loads(text)["fingerprint"])


def judge(form, output_format, parts):
    template = {
        "name": form,
        "system_prompt": sentences(form) if "pair" in form else "You are a helpful assistant.",
        "prompt_template": f"{'' if 'pair' in form else sentences(form)}\n\n{parts}",
        "output_format": output_format,
    }
    return common.Judge(model_name="gpt-4", prompt_template=template)


def answer(text):
    return {"choices": [{"turns": [text]}]}


@pytest.fixture(autouse=True)
def public(monkeypatch, base_url):
    monkeypatch.setattr(openai, "api_type", "open_ai")
    monkeypatch.setattr(openai, "api_base", base_url)
    monkeypatch.setattr(openai, "api_key", "any")
    # A failure is what is looked at.
    monkeypatch.setattr(common, "API_MAX_RETRY", 1)
    monkeypatch.setattr(common, "API_RETRY_SLEEP", 0)


def test_single_ratings():
    asking = judge("mt-bench-single", "[[rating]]", "[Question]\n{question}\n\n[Answer]\n{answer}")
    for colour in COLOURS:
        rating, _, text = common.run_judge_single(
            {"turns": [QUESTION]}, answer(f"The circle is {colour}."), asking, None
        )
        assert rating in range(1, 11), text


def test_pairs():
    asking = judge("mt-bench-pair", "[[A]]", "[Question]\n{question}\n\n[A]\n{answer_a}\n\n[B]\n{answer_b}")
    for colour in COLOURS:
        winner, _, text = common.run_judge_pair(
            {"turns": [QUESTION]}, answer(RIGHT), answer(f"It is {colour}."), asking, None
        )
        assert winner in ("A", "B", "tie"), text


def test_azure(monkeypatch, address):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", address)
    monkeypatch.setenv("AZURE_OPENAI_KEY", "any")
    conversation = get_conv_template("chatgpt")
    conversation.append_message(conversation.roles[0], f"{QUESTION} {WRONG}")
    conversation.append_message(conversation.roles[1], None)
    text = common.chat_completion_openai_azure("azure-gpt-4", conversation, 0, 16)
    assert text and text != common.API_ERROR_OUTPUT


def test_stream_and_errors():
    asked = dict(model="gpt-4", messages=[{"role": "user", "content": QUESTION}], max_tokens=12)
    whole = openai.ChatCompletion.create(**asked)["choices"][0]["message"]["content"]
    pieces = [
        chunk["choices"][0]["delta"].get("content", "") for chunk in openai.ChatCompletion.create(**asked, stream=True)
    ]
    assert "".join(pieces) == whole
    with pytest.raises(openai.error.InvalidRequestError) as caught:
        openai.ChatCompletion.create(**asked, temperature=9)
    assert caught.value.param == "temperature"
