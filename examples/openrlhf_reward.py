"""Sends what OpenRLHF sends for each rollout. In training one flag does it:

    --reward.remote_url http://127.0.0.1:8080/get_reward     (in older versions --remote_rm_url)

The image, and anything else that the critic should know, travels in the label, a column of the data set."""

import base64
import json
import os
import pathlib
import urllib.request

URL = os.environ.get("GAVEL_URL", "http://127.0.0.1:8080")
# A server with keys needs one.
KEY = os.environ.get("GAVEL_API_KEY")
HEADERS = {"content-type": "application/json"} | ({"authorization": f"Bearer {KEY}"} if KEY else {})
picture = base64.b64encode(pathlib.Path("training/examples/scene.png").read_bytes()).decode()
label = json.dumps({"image": f"data:image/png;base64,{picture}"})
prompt = "<|im_start|>user\n<image>\nWhat colour is the circle?<|im_end|>\n<|im_start|>assistant\n"

for answer in ("The circle is orange.", "The circle is purple."):
    body = {"query": [f"{prompt}{answer}<|im_end|>\n"], "prompts": [prompt], "labels": [label]}
    request = urllib.request.Request(URL + "/get_reward", json.dumps(body).encode(), HEADERS)
    with urllib.request.urlopen(request) as response:
        print(answer, json.load(response)["rewards"])
