"""Two ways to ask the critic: over the server's HTTP interface, or the checkpoint folder through transformers."""
from __future__ import annotations

import base64
import io
import json
import re
import urllib.request

from PIL import Image

from cases import Case

TIE = {"1": "first", "2": "second", "tie": "tie"}


class Server:
    def __init__(self, url: str):
        self.url = url.rstrip("/") + "/judge"

    def ask(self, im: Image.Image, case: Case, by_name: bool) -> dict:
        """`by_name`: the rubric's own words by its name; otherwise this case's words in the request itself."""
        png = io.BytesIO()
        im.save(png, "PNG")
        body = {"images": ["data:image/png;base64," + base64.b64encode(png.getvalue()).decode()], "question": case.asked,
                "format": case.form["name"]}
        if case.kind == "pointwise":
            body |= {"response": case.responses[0].text, "rubric": {"criteria": case.criteria, "scale": case.rubric["scale"]}}
        else:
            body |= {"responses": [r.text for r in case.responses], "rubric": {"criteria": case.criteria}}
        if by_name:
            body["rubric"] = case.rubric["name"]
        if case.reference:
            body["reference"] = case.reference
        request = urllib.request.Request(self.url, json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)


class Local:
    """Greedy decoding with transformers; no server needed."""

    def __init__(self, folder):
        import torch

        import export
        import words
        self.torch, self.encoder, self.model = torch, words.load(f"{folder}/tokenizer.json"), export.load(folder)

    def ask(self, im: Image.Image, case: Case, by_name: bool) -> dict:
        import model as critic
        import tiles
        torch, sp = self.torch, self.encoder.special
        n = len(tiles.packing(im.height, im.width))
        ids = torch.tensor([[*self.encoder.head, *[sp["<image>"]] * n, *self.encoder.prompt(case)]])
        with torch.no_grad():
            out = self.model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=critic.pixels(torch.from_numpy(tiles.cut(im)))[None],
                image_sizes=torch.tensor([[im.height, im.width]]), max_new_tokens=64, do_sample=False,
                eos_token_id=sp["<|im_end|>"], pad_token_id=sp["<|endoftext|>"])
        text = self.encoder.tok.decode(out[0, ids.shape[1]:].tolist(), skip_special_tokens=True)
        verdict, _, reason = text.partition("\n")
        if case.kind == "pointwise":
            number = re.fullmatch(r"\d+(\.\d+)?", verdict.strip())
            return {"score": float(verdict) if number else None, "justification": reason}
        return {"preference": TIE.get(verdict.strip()), "justification": reason}
