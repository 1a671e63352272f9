"""Three replicas behind the chart's proxy, which finds them by a name: `names.py GAVEL`, in a network of its own.

HAProxy runs with the configuration and the environment that its pod has. The names are told by a server here, at the address
that /etc/resolv.conf must have: 127.0.0.1. Exits with an error that names what is wrong."""

import http.client
import json
import os
import pathlib
import random
import re
import socket
import struct
import subprocess
import tempfile
import threading
import time

from rendered import GAVEL, documents, environment, proxy

VALUES = {"proxy": {"enabled": True}}
PORT = 8080
LISTENERS = [("127.0.0.1", 9000), ("127.0.0.1", 9001)]
REPLICAS = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]
# HAProxy is where only some users' shells look.
ENVIRONMENT = {"PATH": f"{os.environ['PATH']}:/usr/sbin"}


class Names:
    """Answers every question for an IPv4 address with `addresses`, as a cluster does for a service without an address."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.asked = set()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            question, client = self.socket.recvfrom(4096)
            end = question.index(b"\0", 12) + 5
            (kind,) = struct.unpack(">H", question[end - 4 : end - 2])
            self.asked.add(b".".join(labels(question[12 : end - 5])).decode())
            records = [
                b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(address)
                # In any order, as clusters tell them.
                for address in random.sample(self.addresses, len(self.addresses))
                if kind == 1
            ]
            head = question[:2] + struct.pack(">HHHHH", 0x8400, 1, len(records), 0, 0)
            self.socket.sendto(head + question[12:end] + b"".join(records), client)


def labels(name):
    while name:
        yield name[1 : name[0] + 1]
        name = name[name[0] + 1 :]


def ask(address, method, path, body=None, affinity=None):
    """Status and text of an answer; 0 when there is none."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    headers = {"content-type": "application/json"} | ({"x-gavel-affinity": affinity} if affinity else {})
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def until(what, condition):
    for _ in range(400):
        if condition():
            return
        time.sleep(0.3)
    raise AssertionError(f"it never came to be that {what}")


def judged(replica):
    """Requests for a judgement that a replica answered."""
    _, text = ask((replica, PORT), "GET", "/metrics")
    lines = [line for line in text.splitlines() if line.startswith('gavel_requests_total{endpoint="/judge"')]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def judge(question, affinity=None, listener=LISTENERS[0]):
    body = json.dumps({"question": question, "response": "a", "mode": "score", "memo": False})
    return ask(listener, "POST", "/judge", body, affinity)[0]


def met(affinity, listener):
    """The replica that most requests with one name meet, by its place in the list. The next one on the ring may get one whose
    predecessor's answer has come, but is not counted as ended yet."""
    before = [judged(replica) for replica in REPLICAS]
    assert [judge(f"What is {affinity}?", affinity, listener) for _ in range(5)] == [200] * 5
    shares = [judged(replica) - then for replica, then in zip(REPLICAS, before)]
    return shares.index(max(shares))


def settled(affinities, listener):
    """Where names lead, once new replicas have their whole part of the ring: they get it little by little."""
    (slow,) = set(re.findall(r"slowstart (\d+)s", configuration()))
    places, since = {}, time.monotonic()

    def unchanged():
        nonlocal places, since
        now = {affinity: met(affinity, listener) for affinity in affinities}
        if now != places:
            places, since = now, time.monotonic()
        return time.monotonic() > since + int(slow) + 1

    until("names keep their replicas", unchanged)
    return places


def reaches(replica):
    """Whether one of a dozen requests without a name comes to a replica."""
    before = judged(replica)
    assert all(judge(f"{index}?") == 200 for index in range(12))
    return judged(replica) > before


def check(names, proxies):
    name = environment(proxy(VALUES)["containers"][0])["GAVEL_REPLICAS"].split(":")[0]
    for replica in REPLICAS:
        until(f"{replica} is ready", lambda: ask((replica, PORT), "GET", "/readyz")[0] == 200)
    proxies.open(LISTENERS[0])
    until("the proxy has found the first replica", lambda: ask(LISTENERS[0], "GET", "/readyz")[0] == 200)
    assert ask(LISTENERS[0], "GET", "/metrics")[0] == 404, "figures are the replicas' own"
    assert names.asked == {name}, names.asked
    names.addresses = REPLICAS
    until("all three are asked", lambda: all(reaches(replica) for replica in REPLICAS))
    affinities = [f"{index:032x}" for index in range(9)]
    places = settled(affinities, LISTENERS[0])
    assert len(set(places.values())) > 1, places
    # Another proxy agrees though it found the replicas in another order: from HAProxy 3.0 on.
    if proxies.version >= 3:
        proxies.open(LISTENERS[1])
        until("the second proxy has found a replica", lambda: ask(LISTENERS[1], "GET", "/readyz")[0] == 200)
        assert settled(affinities, LISTENERS[1]) == places
    # One goes, and so does its address: who was with another one stays there.
    names.addresses = REPLICAS[1:]
    until("the address has gone", lambda: not reaches(REPLICAS[0]))
    after = {affinity: met(affinity, LISTENERS[0]) for affinity in affinities}
    assert all(after[affinity] == place for affinity, place in places.items() if place != 0), (places, after)
    assert 0 not in after.values(), after
    names.addresses = REPLICAS
    until("it is there again", lambda: reaches(REPLICAS[0]))


class Processes:
    """Replicas, and proxies as their pod runs them; all are ended together."""

    def __init__(self, folder):
        container = proxy(VALUES)["containers"][0]
        self.path = pathlib.Path(folder) / "haproxy.cfg"
        self.path.write_text(configuration())
        self.command = [str(self.path) if word.endswith("haproxy.cfg") else word for word in container["command"]]
        self.variables = environment(container) | ENVIRONMENT
        told = subprocess.run([self.command[0], "-v"], capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout
        self.version = int(told.split()[2].split(".")[0])
        self.started = []

    def serve(self, address):
        serve = [GAVEL, "serve", "--insecure-no-auth", "--host", address, "--port", str(PORT)]
        self.started.append(subprocess.Popen(serve, stdout=subprocess.DEVNULL))

    def open(self, listener):
        bind = {"GAVEL_PROXY_BIND": "%s:%d" % listener}
        self.started.append(subprocess.Popen(self.command, env=self.variables | bind))

    def end(self):
        for process in self.started:
            process.kill()
            process.wait()


def configuration():
    """What the proxy's pod reads."""
    return documents(VALUES)["ConfigMap/gavel-proxy"]["data"]["haproxy.cfg"]


def main():
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(folder)
        try:
            for replica in REPLICAS:
                processes.serve(replica)
            check(Names(REPLICAS[:1]), processes)
        finally:
            processes.end()


if __name__ == "__main__":
    main()
