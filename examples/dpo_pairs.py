"""Makes preference pairs for DPO: the best and the worst of several answers to each question, as JSON lines for TRL.

`gavel prefer --form trl` does the same for a whole file."""

import base64
import json
import os
import pathlib
import urllib.request

URL = os.environ.get("GAVEL_URL", "http://127.0.0.1:8080")
# A server with keys needs one.
KEY = os.environ.get("GAVEL_API_KEY")
HEADERS = {"content-type": "application/json"} | ({"authorization": f"Bearer {KEY}"} if KEY else {})
# Pairs about which the critic is unsure teach little.
LEAST_MARGIN = 0.05

IMAGE = pathlib.Path("training/examples/scene.png")
picture = base64.b64encode(IMAGE.read_bytes()).decode()
# Questions, each with the answers that a model sampled.
drawn = {
    "What colour is the circle?": ["The circle is orange.", "The circle is purple.", "The circle is red."],
    "What colour is the cross?": ["The cross is purple.", "The cross is green."],
}


def answered(text):
    """An answer as TRL's trainers expect it in conversations about images."""
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


prompts = [{"question": question, "images": [picture], "responses": answers} for question, answers in drawn.items()]
request = urllib.request.Request(URL + "/reward", json.dumps({"prompts": prompts}).encode(), HEADERS)
with urllib.request.urlopen(request) as response:
    results = json.load(response)["results"]
for prompt, result in zip(prompts, results, strict=True):
    # Without a margin all answers are equally good, or there are no rewards.
    if result.get("margin", 0.0) < LEAST_MARGIN:
        continue
    answers = prompt["responses"]
    question = [{"type": "image"}, {"type": "text", "text": prompt["question"]}]
    row = {
        "images": [str(IMAGE.resolve())],
        "prompt": [{"role": "user", "content": question}],
        "chosen": answered(answers[result["chosen"]]),
        "rejected": answered(answers[result["rejected"]]),
        "margin": round(result["margin"], 3),
    }
    print(json.dumps(row))
