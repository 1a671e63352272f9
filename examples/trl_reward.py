"""A reward function for TRL's trainers, which asks Gavel for all completions of a step at once. In training:

    GRPOTrainer(model=…, reward_funcs=gavel_reward, train_dataset=…)

It is asynchronous, which needs TRL >= 0.27. The data set's column `image` (or `images`, for several to a row) has PIL images, as data
sets usually do, or data URLs; other columns may stay. A request that fails raises its error, so that no reward goes missing unnoticed."""

import asyncio
import base64
import io
import os
import pathlib

import aiohttp

URL = os.environ.get("GAVEL_URL", "http://127.0.0.1:8080")
# A server with keys needs one.
KEY = os.environ.get("GAVEL_API_KEY")
HEADERS = {"authorization": f"Bearer {KEY}"} if KEY else {}
# Longer than the server's own bound (request_timeout_s), so that it is the server that says why.
TIMEOUT = aiohttp.ClientTimeout(total=660)


def text_of(turns):
    """The text of a conversation's last turn, or of a plain prompt or completion."""
    if isinstance(turns, str):
        return turns
    content = turns[-1]["content"]
    # For data sets with images, TRL turns prompts into content parts before it calls reward functions.
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)


def data_url(picture):
    """A PIL image as a data URL; a data URL, and the name of a registered image, stay as they are."""
    if isinstance(picture, str):
        return picture
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


async def gavel_reward(prompts, completions, image=None, images=None, **_):
    """One reward from 0 to 1 for each completion."""
    shown = images or ([[one] for one in image] if image else [[]] * len(prompts))

    async def reward(session, prompt, completion, pictures):
        label = {"images": [data_url(picture) for picture in pictures]} if pictures else {}
        body = {"prompt": text_of(prompt), "response": text_of(completion), "label": label}
        async with session.post(URL + "/rm", json=body) as response:
            if not response.ok:
                # The body says what is wrong.
                raise RuntimeError(f"{response.status}: {await response.text()}")
            return await response.json()

    async with aiohttp.ClientSession(timeout=TIMEOUT, headers=HEADERS) as session:
        asked = (reward(session, *sample) for sample in zip(prompts, completions, shown, strict=True))
        return await asyncio.gather(*asked)


if __name__ == "__main__":
    picture = base64.b64encode(pathlib.Path("training/examples/scene.png").read_bytes()).decode()
    answers = ["The circle is orange.", "The circle is purple."]
    # As TRL passes them when the data set has images: the prompt as content parts, the image separately.
    question = [{"type": "image"}, {"type": "text", "text": "What colour is the circle?"}]
    questions = [[{"role": "user", "content": question}]] * 2
    turns = [[{"role": "assistant", "content": answer}] for answer in answers]
    rewards = asyncio.run(gavel_reward(questions, turns, image=[f"data:image/png;base64,{picture}"] * 2))
    for answer, reward in zip(answers, rewards, strict=True):
        print(answer, reward)
