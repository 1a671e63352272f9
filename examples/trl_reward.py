"""A reward function for TRL's trainers, which asks Gavel for all completions of a step at once. In training:

    GRPOTrainer(model=…, reward_funcs=gavel_reward, train_dataset=…)

`image` is a column of the data set with pictures as data URLs; other columns may stay."""

import asyncio
import base64
import os
import pathlib

import aiohttp

URL = os.environ.get("GAVEL_URL", "http://127.0.0.1:8080")


def text_of(turns):
    """The text of a conversation's last turn, or of a plain prompt or completion."""
    return turns if isinstance(turns, str) else turns[-1]["content"]


async def gavel_reward(prompts, completions, image, **_):
    """One reward from 0 to 1 for each completion; none where the server has none."""

    async def reward(session, prompt, completion, picture):
        body = {"prompt": text_of(prompt), "response": text_of(completion), "label": {"image": picture}}
        async with session.post(URL + "/rm", json=body) as response:
            return await response.json() if response.ok else None

    async with aiohttp.ClientSession() as session:
        asked = (reward(session, *sample) for sample in zip(prompts, completions, image, strict=True))
        return await asyncio.gather(*asked)


if __name__ == "__main__":
    picture = base64.b64encode(pathlib.Path("training/examples/scene.png").read_bytes()).decode()
    questions = [[{"role": "user", "content": "What colour is the circle?"}]] * 2
    answers = ["The circle is orange.", "The circle is purple."]
    turns = [[{"role": "assistant", "content": answer}] for answer in answers]
    rewards = asyncio.run(gavel_reward(questions, turns, [f"data:image/png;base64,{picture}"] * 2))
    for answer, reward in zip(answers, rewards, strict=True):
        print(answer, reward)
