"""A score function for verl, which asks Gavel. In training:

    reward.custom_reward_function.path=examples/verl_compute_score.py
    reward.custom_reward_function.name=compute_score

(Older versions of verl call them `custom_reward_function.path` and `custom_reward_function.name`.)

Each row of the data set has its question and image in `extra_info`; `ground_truth` may be a known answer or empty."""

import asyncio
import base64
import os
import pathlib

import aiohttp

URL = os.environ.get("GAVEL_URL", "http://127.0.0.1:8080")
# A server with keys needs one.
KEY = os.environ.get("GAVEL_API_KEY")
HEADERS = {"authorization": f"Bearer {KEY}"} if KEY else {}
# Longer than the server's own bound (request_timeout_s), so that it is the server that says why.
TIMEOUT = aiohttp.ClientTimeout(total=660)


async def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    """The reward of an answer, from 0 to 1. Allow some minutes for each answer: the server queues requests."""
    known = extra_info or {}
    label = {"reference": ground_truth} if ground_truth else {}
    if "image" in known:
        label["image"] = known["image"]
    body = {"prompt": known["question"], "response": solution_str, "label": label}
    async with aiohttp.ClientSession(timeout=TIMEOUT, headers=HEADERS) as session:
        async with session.post(URL + "/rm", json=body) as response:
            if not response.ok:
                # The body says what is wrong.
                raise RuntimeError(f"{response.status}: {await response.text()}")
            return await response.json()


if __name__ == "__main__":
    picture = base64.b64encode(pathlib.Path("training/examples/scene.png").read_bytes()).decode()
    row = {"question": "What colour is the circle?", "image": f"data:image/png;base64,{picture}"}
    for answer in ("The circle is orange.", "The circle is purple."):
        print(answer, asyncio.run(compute_score("toy", answer, "", row)))
