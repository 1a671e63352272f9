"""The settings in `examples` that are no scripts: the address that they give answers what their program sends to it.

lmms-eval asks with its own judge module. VLMEvalKit and LLaMA-Factory cannot be installed here: their requests are written
after what they send."""

import sys

import pytest
import requests
import yaml
from absent import package_without_init
from conftest import QUESTION, RIGHT, ROOT, WRONG

DEFAULT = "http://127.0.0.1:8080"


def text_of(name, address):
    """A file of settings, with the address of this server."""
    text = (ROOT / "examples" / name).read_text()
    assert DEFAULT in text
    return text.replace(DEFAULT, address)


def variables(name, address):
    lines = [line for line in text_of(name, address).splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_lmms_eval(address, monkeypatch):
    for name, value in variables("lmms_eval.env", address).items():
        monkeypatch.setenv(name, value)
    for package in ("", ".models", ".models.model_utils", ".tasks", ".tasks.mmvet"):
        package_without_init("lmms_eval" + package)
    sys.modules.pop("lmms_eval.tasks.mmvet.utils", None)
    from lmms_eval.tasks.mmvet import utils

    document = {"question_id": "1", "question": QUESTION, "answer": "orange", "capability": "rec"}
    score = utils.mmvet_process_results(document, [RIGHT])["gpt_eval_score"]
    assert 0 <= score["score"] <= 1 and score["eval_model"] == utils.MODEL_VERSION


@pytest.mark.parametrize("suffix", ["", "/chat/completions"], ids=["as it stands", "as a base"])
def test_vlmevalkit(address, data_url, suffix):
    known = variables("vlmevalkit.env", address)
    content = [
        {"type": "image_url", "image_url": {"url": data_url, "detail": "low"}},
        {"type": "text", "text": QUESTION},
    ]
    body = {
        "model": known["LOCAL_LLM"],
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": 128,
    }
    key = {"authorization": f"Bearer {known['OPENAI_API_KEY']}"}
    answer = requests.post(known["OPENAI_API_BASE"] + suffix, json=body, headers=key, timeout=60)
    assert answer.status_code == 200
    text = answer.json()["choices"][0]["message"]["content"].strip()
    assert text and "Failed to obtain answer via API." not in text


def test_llama_factory(address):
    settings = yaml.safe_load(text_of("llama_factory.yaml", address))
    assert settings["reward_model_type"] == "api"
    prompt = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    texts = [f"{prompt}{answer}<|im_end|>\n" for answer in (RIGHT, WRONG, RIGHT)]
    answer = requests.post(settings["reward_model"], json={"model": "model", "messages": texts}, timeout=60)
    scores = answer.json()["scores"]
    assert len(scores) == 3 and scores[0] == scores[2] and all(isinstance(score, float) for score in scores)
