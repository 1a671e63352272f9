"""Measures mistral.rs on a GGUF file, in this process.

    python mistralrs_peer.py FILE SEQUENCES

Reads one JSON request per line, runs it, and writes one JSON reply per line. Chat requests are streamed, since a runner
accepts a request only after the previous call has returned; each stream is read by a thread of its own.
"""

import importlib.metadata
import json
import os
import sys
import threading
import time

# The library prints to stdout, which is reserved for the replies.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

from mistralrs import ChatCompletionRequest, Runner, Which

FOLDER, FILE = os.path.split(sys.argv[1])
runner = Runner(
    which=Which.GGUF(quantized_model_id=FOLDER, quantized_filename=FILE),
    token_source="none",
    prefix_cache_n=0,
    max_seqs=int(sys.argv[2]),
)


def read(stream, usages, errors):
    last = None
    try:
        for chunk in stream:
            last = chunk
        usages.append(last.usage)
    except Exception as error:
        errors.append(error)


def run(prompts, tokens):
    """Returns the seconds until all streams have ended, and the numbers of prompt and completion tokens."""
    usages, errors = [], []
    begin = time.perf_counter()
    readers = []
    for prompt in prompts:
        request = ChatCompletionRequest(
            messages=[{"role": "user", "content": prompt}],
            model="default",
            max_tokens=tokens,
            temperature=0.0,
            top_k=1,
            ignore_eos=True,
            stream=True,
        )
        stream = runner.send_chat_completion_request(request)
        readers.append(threading.Thread(target=read, args=(stream, usages, errors)))
        readers[-1].start()
    for reader in readers:
        reader.join()
    seconds = time.perf_counter() - begin
    if errors:
        raise errors[0]
    return seconds, sum(u.prompt_tokens for u in usages), sum(u.completion_tokens for u in usages)


def language(request):
    """Runs new prompts with one token each, then the same prompts with more: the prefix cache is off."""
    short, read_tokens, few = run(request["prompts"], 1)
    long, _, many = run(request["prompts"], 1 + request["steps"])
    return {"prompt_tokens": read_tokens, "prefill_s": short, "written_tokens": many - few, "decode_s": long - short}


def answer(line):
    try:
        return language(json.loads(line))
    except Exception as error:
        # The lines after the first are a backtrace.
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}


def say(what):
    print(json.dumps(what), file=ANSWERS, flush=True)


say({"version": importlib.metadata.version("mistralrs")})
for line in sys.stdin:
    say(answer(line))
