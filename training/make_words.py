"""Writes the tokenizer: python make_words.py --out tokenizer.json."""
from __future__ import annotations

import argparse

import words


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", required=True)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    tok = words.learn(a.seed)
    tok.save(a.out)
    print(f"{tok.get_vocab_size()} tokens in {a.out}")


if __name__ == "__main__":
    main()
