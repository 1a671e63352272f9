#!/usr/bin/env python3
"""Measures the effect of affinity: three replicas behind HAProxy, under the same load with the header and without it.

    cargo build --release && deploy/haproxy/compare.py target/release/gavel

Clients send judgements about pictures in random order, of several responses to each. A replica's KV cache is so small that it
holds only a third of the pictures. Needs only haproxy and Python."""

import argparse
import base64
import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import random
import shutil
import socket
import statistics
import struct
import subprocess
import time
import zlib

HERE = pathlib.Path(__file__).parent


def png(seed):
    """Returns a PNG of large squares in random colours, which differs for each seed."""
    width, height, square = 224, 112, 14
    draw = random.Random(seed)
    cells = [[draw.randbytes(3) for _ in range(width // square)] for _ in range(height // square)]
    rows = b"".join(b"\0" + b"".join(cells[y // square][x // square] for x in range(width)) for y in range(height))

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def affinity(image):
    """Returns the x-gavel-affinity that Gavel answers for an image, computed before the first request."""
    return hashlib.sha256(hashlib.sha256(image).digest()).hexdigest()[:32]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def fleet(gavel, options):
    """Runs three replicas and the proxy in front of them; yields the proxy's port and the replicas' addresses."""
    with contextlib.ExitStack() as stack:
        addresses = []
        for _ in range(3):
            command = [gavel, "serve", "--port", "0", *options]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
            addresses.append(process.stdout.readline().strip().removeprefix("listening on http://"))
        port = free_port()
        names = {f"GAVEL_REPLICA_{index}": address for index, address in enumerate(addresses, 1)}
        environment = {**os.environ, **names, "GAVEL_PROXY_BIND": f"127.0.0.1:{port}"}
        haproxy = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
        proxy = subprocess.Popen([haproxy, "-db", "-f", HERE / "haproxy.cfg"], env=environment, stderr=subprocess.DEVNULL)
        stack.callback(proxy.wait)
        stack.callback(proxy.kill)
        deadline = time.monotonic() + 20
        while ask(port, "GET", "/readyz", {}, None)[0] != 200:
            assert time.monotonic() < deadline, "the proxy does not answer"
            time.sleep(0.1)
        time.sleep(1.5)  # until all replicas have passed their checks
        yield port, addresses


def ask(port, method, path, headers, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def run(arguments, with_header, seed):
    images = [png(index) for index in range(arguments.pictures)]
    requests = [(image, response) for image in images for response in range(arguments.responses)]
    random.Random(seed).shuffle(requests)

    def judge(request):
        image, response = request
        body = {
            "question": "What do you see in the picture?",
            "images": [base64.b64encode(image).decode()],
            "response": f"There are squares, {response} of them.",
            "mode": "score",
        }
        headers = {"content-type": "application/json"}
        if with_header:
            headers["x-gavel-affinity"] = affinity(image)
        start = time.monotonic()
        status, answer = ask(port, "POST", "/judge", headers, json.dumps(body))
        assert status == 200, (status, answer)
        usage = json.loads(answer)["usage"]
        return usage["cached_tokens"], usage["prompt_tokens"], time.monotonic() - start

    with fleet(arguments.gavel, ["--cache-mib", str(arguments.cache_mib), "--image-cache-mib", "1"]) as (port, _):
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(arguments.clients) as pool:
            results = list(pool.map(judge, requests))
        seconds = time.monotonic() - start
    cached, prompt, latencies = zip(*results)
    return sum(cached) / sum(prompt), len(requests) / seconds, statistics.median(latencies)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gavel", help="the program")
    parser.add_argument("--pictures", type=int, default=36)
    parser.add_argument("--responses", type=int, default=16, help="to each picture")
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--cache-mib", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3, help="of each kind, in turn")
    arguments = parser.parse_args()
    print("routing     tokens kept  judgements/s  p50 ms")
    for seed in range(arguments.runs):
        for name, with_header in (("by load", False), ("by affinity", True)):
            kept, rate, median = run(arguments, with_header, seed)
            print(f"{name:11} {kept:11.1%} {rate:13.1f} {1000 * median:7.0f}", flush=True)


if __name__ == "__main__":
    main()
