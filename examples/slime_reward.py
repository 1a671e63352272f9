"""Sends what slime sends for each sample. In training two flags do it:

    --rm-type remote_rm --rm-url http://127.0.0.1:8080/rm

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

for answer in ("The circle is orange.", "The circle is purple."):
    body = {
        "prompt": [{"role": "user", "content": "What colour is the circle?"}],
        "response": answer,
        "label": {"image": f"data:image/png;base64,{picture}"},
    }
    request = urllib.request.Request(URL + "/rm", json.dumps(body).encode(), HEADERS)
    with urllib.request.urlopen(request) as response:
        print(answer, json.load(response))
