"""Batches from worker processes, every batch a function of (seed, stage, number) alone, so that a run can be repeated."""
from __future__ import annotations

import multiprocessing as mp
import os
import random
from queue import Full
from typing import Callable, Iterator


def _work(make: Callable, seed: str, start: int, step: int, queue) -> None:
    import torch
    torch.set_num_threads(1)
    n, parent = start, os.getppid()
    while True:
        batch = make(random.Random(f"{seed}/{n}"))
        while True:
            try:
                queue.put(batch, timeout=10)
                break
            except Full:
                if os.getppid() != parent:  # the trainer is gone
                    os._exit(0)
        n += step


def batches(make: Callable, seed: str, workers: int = 1) -> Iterator:
    """Endless batches of make(rng), in a fixed order whatever the workers' speed."""
    context = mp.get_context("fork")
    queues = [context.Queue(maxsize=4) for _ in range(workers)]
    for i, q in enumerate(queues):
        context.Process(target=_work, args=(make, seed, i, workers, q), daemon=True).start()
    while True:
        for q in queues:
            yield q.get()
