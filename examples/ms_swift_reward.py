"""A reward for ms-swift's GRPO, which asks Gavel. In training:

    swift rlhf --rlhf_type grpo --external_plugins examples/ms_swift_reward.py --reward_funcs gavel …

`image` is a column of the data set with images as data URLs, and `messages` is what ms-swift passes to every reward."""

import asyncio
import base64
import os
import pathlib

import aiohttp
from swift.rewards import AsyncORM, orms

URL = os.environ.get("GAVEL_URL", "http://127.0.0.1:8080")
# A server with keys needs one.
KEY = os.environ.get("GAVEL_API_KEY")
HEADERS = {"authorization": f"Bearer {KEY}"} if KEY else {}
# Longer than the server's own bound (request_timeout_s), so that it is the server that says why.
TIMEOUT = aiohttp.ClientTimeout(total=660)


class GavelReward(AsyncORM):
    """One reward from 0 to 1 for each completion."""

    async def __call__(self, completions, messages, image, **_):
        async def reward(session, completion, turns, picture):
            question = [turn["content"] for turn in turns if turn["role"] == "user"][-1]
            body = {"prompt": question, "response": completion, "label": {"image": picture}}
            async with session.post(URL + "/rm", json=body) as response:
                if not response.ok:
                    # The body says what is wrong.
                    raise RuntimeError(f"{response.status}: {await response.text()}")
                return await response.json()

        async with aiohttp.ClientSession(timeout=TIMEOUT, headers=HEADERS) as session:
            asked = (reward(session, *sample) for sample in zip(completions, messages, image, strict=True))
            return await asyncio.gather(*asked)


orms["gavel"] = GavelReward

if __name__ == "__main__":
    picture = base64.b64encode(pathlib.Path("training/examples/scene.png").read_bytes()).decode()
    turns = [{"role": "user", "content": "What colour is the circle?"}]
    answers = ["The circle is orange.", "The circle is purple."]
    rewards = asyncio.run(GavelReward()(answers, [turns] * 2, [f"data:image/png;base64,{picture}"] * 2))
    for answer, reward in zip(answers, rewards, strict=True):
        print(answer, reward)
