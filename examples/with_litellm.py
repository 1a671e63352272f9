"""Asks Gavel through litellm: a completion, and the ranking of several answers to one question."""

import base64
import os
import pathlib

import litellm

url = os.environ.get("GAVEL_URL", "http://127.0.0.1:8080")
# A server without keys takes any.
key = os.environ.get("GAVEL_API_KEY", "none")
picture = base64.b64encode(pathlib.Path("training/examples/scene.png").read_bytes()).decode()

parts = [
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
    {"type": "text", "text": "Describe the image."},
]
completion = litellm.completion(
    model="hosted_vllm/any-name",
    api_base=url + "/v1",
    api_key=key,
    messages=[{"role": "user", "content": parts}],
    max_tokens=200,
)
print(completion.choices[0].message.content)

answers = ["Two plus two is five.", "Two plus two is four.", "I like music."]
ranking = litellm.rerank(
    model="hosted_vllm/any-name",
    api_base=url,
    api_key=key,
    query="What is two plus two?",
    documents=answers,
    top_n=3,
)
for place, result in enumerate(ranking.results, start=1):
    print(f"{place}. {answers[result['index']]} ({result['relevance_score']:.3f})")
