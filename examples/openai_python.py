"""Asks Gavel through OpenAI's package, with a prompt of your own and a streamed answer."""

import base64
import os
import pathlib

import openai

url = os.environ.get("GAVEL_URL", "http://127.0.0.1:8080")
# A server without keys takes any.
client = openai.OpenAI(base_url=url + "/v1", api_key=os.environ.get("GAVEL_API_KEY", "none"))
picture = base64.b64encode(pathlib.Path("training/examples/scene.png").read_bytes()).decode()

stream = client.chat.completions.create(
    model="any name",
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
                {"type": "text", "text": "Describe the image."},
            ],
        }
    ],
    max_tokens=200,
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
