"""Makes preference pairs for DPO: the best and the worst of several answers to each question, as JSON lines."""

import base64
import json
import os
import pathlib
import urllib.request

URL = os.environ.get("GAVEL_URL", "http://127.0.0.1:8080")
# Pairs about which the critic is unsure teach little.
LEAST_MARGIN = 0.05

picture = base64.b64encode(pathlib.Path("training/examples/scene.png").read_bytes()).decode()
# Questions, each with the answers that a model sampled.
drawn = {
    "What colour is the circle?": ["The circle is orange.", "The circle is purple.", "The circle is red."],
    "What colour is the cross?": ["The cross is purple.", "The cross is green."],
}

prompts = [{"question": question, "images": [picture], "responses": answers} for question, answers in drawn.items()]
request = urllib.request.Request(
    URL + "/reward", json.dumps({"prompts": prompts}).encode(), {"content-type": "application/json"}
)
with urllib.request.urlopen(request) as response:
    results = json.load(response)["results"]
for prompt, result in zip(prompts, results, strict=True):
    # Without a margin all answers are equally good, or there are no rewards.
    if result.get("margin", 0.0) < LEAST_MARGIN:
        continue
    answers = prompt["responses"]
    pair = {"chosen": answers[result["chosen"]], "rejected": answers[result["rejected"]]}
    print(json.dumps({"prompt": prompt["question"], **pair, "margin": round(result["margin"], 3)}))
