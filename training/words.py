"""The tokenizer: byte-level BPE learned from this world's own texts; and cases turned into token ids with targets."""
from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import cases
import prompts
import scenes
from scenes import COLOURS, PLACES, SHAPES, SIZES, WORDS
from talk import WORDINGS

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"]
VOCAB = 1024  # at most
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
WRONG_IGNORE = -1
# In a reason the words that name what is there or was said weigh more than the rest, which is always the same.
NAMED = 2.0
NAMES = {*SHAPES, *COLOURS, *SIZES, *WORDS, *" ".join(PLACES).split(), *"12345"}


def learn(seed: int) -> Tokenizer:
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    tok.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tok.decoder = decoders.ByteLevel(add_prefix_space=True, trim_offsets=True, use_regex=True)
    trainer = trainers.BpeTrainer(vocab_size=VOCAB - len(SPECIAL), min_frequency=2, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator(corpus(seed), trainer)
    tok.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIAL])
    return tok


def corpus(seed: int):
    rng = random.Random(f"words-{seed}")
    for _ in range(4000):
        scene = scenes.sample(rng)
        for case in cases.some(scene, rng, 4, 0.2):
            yield prompt_text(case)[0] + "\n" + "\n".join(answer_text(case))
    # Held-out wordings may be spelt as well as any, and plain English words for prompts that others write.
    for _ in range(20):
        yield "\n".join(str(v) for part in WORDINGS.values() for v in (part.values() if isinstance(part, dict) else part))
        yield "\n".join(" ".join(f["parts"]) for f in prompts.CRITIC["formats"])
        yield "tie\n1\n2\nuser\nassistant\nsystem\nScore: \nBetter: "


def prompt_text(case: cases.Case) -> tuple[str, dict[str, int]]:
    if case.kind == "caption":
        return case.asked, {}
    return prompts.render(case.form, case.fields())


def answer_text(case: cases.Case) -> tuple[str, str]:
    """What the assistant's turn begins with, and what the model is to write."""
    if case.kind == "caption":
        return "", case.responses[0].text
    return case.form["reply"], f"{case.verdict}\n{case.reason}"


class Encoder:
    def __init__(self, tok: Tokenizer):
        self.tok = tok
        self.start, self.end = tok.token_to_id("<|im_start|>"), tok.token_to_id("<|im_end|>")
        self.head = [self.start, *self.ids("user\n")]  # then the picture, then the segment

    def ids(self, text: str) -> list[int]:
        return self.tok.encode(text, add_special_tokens=False).ids

    def prompt(self, case: cases.Case) -> list[int]:
        """Everything between the picture and the reply."""
        return [*self.ids("\n" + prompt_text(case)[0]), self.end, *self.ids("\n"), self.start,
                *self.ids("assistant\n" + answer_text(case)[0])]

    def segment(self, case: cases.Case, verdict_weight: float, echo: float) -> dict[str, np.ndarray]:
        """ids; target[i]: what is to be predicted in place i, which is ids[i] or, in an untrue claim, the truth; weight[i]:
        how much that counts; wrong[i]: is ids[i] part of an untrue claim;
        grade[i]: the oracle's grade, at the last token of a response and where the verdict is due."""
        text, at = prompt_text(case)
        enc = self.tok.encode("\n" + text, add_special_tokens=False)
        wrong, weight = np.full(len(enc.ids), WRONG_IGNORE), np.zeros(len(enc.ids), np.float32)
        target = np.array(enc.ids)
        marks = {}
        for n_r, (key, r) in enumerate(zip(["response"] if len(case.responses) == 1 else ["response_1", "response_2"], case.responses)):
            if key not in at:
                continue
            lo, flags = at[key] + 1, []
            truths = {}  # first character of a piece that the picture decides -> (its length, whether it is wrong, the truth)
            for piece, bad, truth in r.pieces:
                if truth is not None:
                    truths[len(flags)] = (len(piece), bad, truth)
                flags += [bad] * len(piece)
            for i, (a, b) in enumerate(enc.offsets):
                if case.kind != "caption" and a <= lo + len(flags) - 1 < b:
                    marks[i] = case.grades[n_r]
                if b > lo and a < lo + len(flags):  # the first token may start with the space before the response
                    wrong[i] = int(any(flags[max(a - lo, 0):b - lo]))
                    # A response is also a lesson in seeing: whatever it says, the truth is what should stand there.
                    weight[i] = 0.0 if wrong[i] or r.fault in ("vague", "off_topic") else 0.1
                    for at_char, (length, bad, truth) in truths.items():
                        if a - lo <= at_char < b - lo:
                            target[i] = self.ids(("\n" + text)[a:lo + at_char] + truth)[0]
                            weight[i] = echo
                        elif at_char < a - lo < at_char + length and not bad:
                            weight[i] = echo
        reply, answer = answer_text(case)
        mid = [self.end, *self.ids("\n"), self.start, *self.ids("assistant\n" + reply)]
        out = self.ids(answer) + [self.end]
        w = np.ones(len(out), np.float32)
        first = 0
        if case.kind != "caption":
            first = len(self.ids(case.verdict))
            w[:first] = verdict_weight
            w[first:] = [NAMED if self.tok.decode([t]).strip() in NAMES else 1.0 for t in out[first:]]
        ids = np.array([*enc.ids, *mid, *out])
        pad = np.full(len(mid) + len(out), WRONG_IGNORE)
        n = len(enc.ids) + len(mid)
        if case.kind == "pointwise":
            marks[n - 1] = case.grades[0]
        grade = np.full(n + len(out), WRONG_IGNORE)
        grade[list(marks)] = list(marks.values())
        return dict(ids=ids, target=np.array([*target, *mid, *out]), weight=np.concatenate([weight, np.zeros(len(mid), np.float32), w]), wrong=np.concatenate([wrong, pad]), grade=grade,
                    verdict=np.array([n, n + first]))


    @property
    def rows(self) -> int:
        """Rows of the embedding: the vocabulary, padded to a round number."""
        return -(-self.tok.get_vocab_size() // 64) * 64

    @property
    def special(self) -> dict[str, int]:
        return {s: self.tok.token_to_id(s) for s in SPECIAL}


def load(path: str | Path) -> Encoder:
    return Encoder(Tokenizer.from_file(str(path)))
