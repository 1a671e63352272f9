"""Picks the best of several answers about an image: all of them are compared with each other, in both orders."""

import base64
import json
import os
import pathlib
import urllib.request

URL = os.environ.get("GAVEL_URL", "http://127.0.0.1:8080")
# A server with keys needs one.
KEY = os.environ.get("GAVEL_API_KEY")
HEADERS = {"content-type": "application/json"} | ({"authorization": f"Bearer {KEY}"} if KEY else {})


def best_of(question, image, answers):
    """The best answer, and by how much it is better than the worst; the first one if all are equally good."""
    picture = base64.b64encode(pathlib.Path(image).read_bytes()).decode()
    body = {"question": question, "images": [picture], "responses": answers}
    request = urllib.request.Request(URL + "/reward", json.dumps(body).encode(), HEADERS)
    with urllib.request.urlopen(request) as response:
        found = json.load(response)
    return answers[found.get("chosen", 0)], found.get("margin", 0.0)


# In training these would be samples of the model that is being improved.
candidates = ["The circle is purple.", "The circle is orange.", "The circle is green.", "I like music."]
best, margin = best_of("What colour is the circle?", "training/examples/scene.png", candidates)
print(f"{best} (better than the worst by {margin:.2f})")
