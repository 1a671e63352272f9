"""OpenRLHF's executor of single turns, which asks a remote reward server for each rollout.

The engine that generates and the tokenizer are given by the caller there too; here they write a fixed answer. Torch,
transformers and what else the package imports beside the executor are stand-ins."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from absent import package_without_init, stand_in
from conftest import QUESTION, RIGHT, WRONG

stand_in("torch", "ray", "transformers", "datasets", "deepspeed")
package_without_init("openrlhf")
package_without_init("openrlhf.utils")
from openrlhf.utils.agent import SingleTurnAgentExecutor  # noqa: E402

PROMPT = f"<|im_start|>user\n<image>\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"


class Letters:
    """A tokenizer of which each letter is a token."""

    def __call__(self, text, add_special_tokens, return_tensors):
        ids = [ord(letter) for letter in text]
        return {"input_ids": [SimpleNamespace(tolist=lambda: ids)]}

    def decode(self, ids, skip_special_tokens):
        assert not skip_special_tokens
        return "".join(map(chr, ids))


class Engine:
    """An engine that always writes the same answer."""

    def __init__(self, answer):
        self.answer = answer

    async def generate(self, prompt, parameters, multi_modal_data):
        ids = [ord(letter) for letter in self.answer + "<|im_end|>\n"]
        output = SimpleNamespace(token_ids=ids, text=self.answer, finish_reason="stop", logprobs=None)
        return SimpleNamespace(outputs=[output])


def rollouts(urls, answers, label):
    executor = SingleTurnAgentExecutor(urls)
    parameters = SimpleNamespace(max_tokens=64, logprobs=None)

    async def run():
        return await asyncio.gather(
            *(executor.execute(PROMPT, label, parameters, 4096, Letters(), Engine(answer)) for answer in answers)
        )

    return asyncio.run(run())


def number(value):
    """What a trainer makes a tensor of: a number, or a list of one."""
    (value,) = value if isinstance(value, list) else [value]
    assert isinstance(value, float)
    return value


@pytest.mark.parametrize("label_of", [lambda label: label, json.dumps], ids=["object", "text"])
def test_rollouts_are_rewarded(address, data_url, label_of):
    label = label_of({"image": data_url})
    right, wrong = rollouts(address + "/get_reward", [RIGHT, WRONG], label)
    assert number(right["reward"]) > number(wrong["reward"])
    assert 0 <= number(wrong["scores"]) < number(right["scores"]) <= 1
    for sample in (right, wrong):
        # Each of them becomes a tensor of one number.
        assert all(isinstance(number(value), float) for value in sample["extra_logs"].values())


def test_a_crowd_of_rollouts_on_two_addresses(address, data_url):
    answers = [RIGHT, WRONG] * 64
    samples = rollouts([address + "/get_reward", address + "/get_reward_mllm"], answers, {"image": data_url})
    rewards = [number(sample["reward"]) for sample in samples]
    assert set(rewards[::2]) == {rewards[0]} and set(rewards[1::2]) == {rewards[1]} and rewards[0] > rewards[1]
