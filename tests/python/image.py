"""Takes the steps of a Dockerfile without Docker, in clean roots, and looks whether the image that they lead to serves.

    python image.py DOCKERFILE STAGE:FILE=PATH...

The stage `skeleton` is run on a copy of the tree. Other stages compile for many minutes or download a lot; in the place of what the last
one copies from them stand files that were there before. The last stage begins with a fresh Debian; its commands run there, and then the program as the
image says: as its user, with its environment alone, in a root that cannot be written.
"""

import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]


def instructions(path):
    """Words of every line, with continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", path.read_text()))
    return [line.split(None, 1) for line in text.splitlines() if line.strip()]


def stages(path):
    """Name of each stage and its instructions; the last one is called `image`."""
    found = []
    for word, rest in instructions(path):
        if word == "FROM":
            found.append((rest.split(" AS ")[1] if " AS " in rest else "image", rest.split()[0], []))
        else:
            found[-1][2].append((word, rest))
    return {name: (base, steps) for name, base, steps in found}


def copy_of_the_tree(to):
    """What Docker would be sent: everything that .dockerignore does not name."""
    ignored = [line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines() if line.strip()]
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        parts = pathlib.PurePath(name).parents
        places = [name, *(str(part) for part in parts)]
        if any(fnmatch.fnmatch(place, pattern.replace("**/", "*")) for place in places for pattern in ignored):
            continue
        if (ROOT / name).is_file():
            target = to / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)


def check_skeleton(steps, folder):
    """What is left are manifests, what Cargo is told, and files that are empty programs; Cargo still knows all packages."""
    copy_of_the_tree(folder)
    packages = len(list(folder.rglob("Cargo.toml")))
    assert (folder / "README.md").exists() is False and (folder / "config" / "gavel.toml").exists()
    for word, rest in steps:
        if word == "RUN":
            subprocess.run(["sh", "-c", rest], cwd=folder, check=True)
    left = [path for path in folder.rglob("*") if path.is_file()]
    kept = {"Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "config.toml"}
    assert {path.name for path in left if path.suffix != ".rs"} == kept and (folder / ".cargo/config.toml").exists()
    assert {path.read_text() for path in left if path.suffix == ".rs"} == {"fn main() { }\n"}
    assert len(list(folder.rglob("Cargo.toml"))) == packages
    told = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1", "--offline"],
        cwd=folder, check=True, capture_output=True,
    ).stdout
    assert "gavel" in {target["name"] for package in json.loads(told)["packages"] for target in package["targets"]}


class Image:
    """A root, and what the image says of the process in it."""

    def __init__(self, root):
        self.root, self.environment, self.user, self.said = root, {}, "0", {}

    def step(self, word, rest, made):
        if word == "RUN":
            self.sandbox(["sh", "-c", rest], "--bind")
        elif word == "COPY":
            origin, source, target = re.fullmatch(r"--from=(\S+) (\S+) (\S+)", rest).groups()
            place = self.root / target.lstrip("/")
            place = place / pathlib.PurePath(source).name if target.endswith("/") else place
            shutil.copy(made.pop(f"{origin}:{source}"), place)
        elif word == "ENV":
            self.environment.update(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "USER":
            self.user = rest.strip()
        else:
            self.said[word] = rest

    def inside(self, command, bind, user="0"):
        """A command line that runs in the root."""
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **self.environment}
        given = [word for name, value in environment.items() for word in ("--setenv", name, value)]
        # A place for models is the one that may be written, as with `--read-only -v models:/cache`.
        volume = ["--bind", self.root / "cache", "/cache"] if user != "0" else []
        drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]
        return [
            "bwrap", bind, self.root, "/", *volume, "--proc", "/proc", "--dev", "/dev", "--unshare-pid",
            "--die-with-parent", "--clearenv", *given, "--", *(drop if user != "0" else []), *command,
        ]

    def sandbox(self, command, bind, user="0", **more):
        return subprocess.run(self.inside(command, bind, user), check=True, **more)

    def words(self, word):
        return json.loads(self.said[word][self.said[word].index("["):])


def check_image(base, steps, made, folder):
    assert base == "debian:bookworm-slim", base
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", folder], check=True)
    image = Image(folder)
    for word, rest in steps:
        image.step(word, rest, made)
    assert not made, f"nobody copies {made}"
    assert image.user != "0", "the image does not run as root"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    image.environment.update(GAVEL_HOST="127.0.0.1", GAVEL_PORT=port, GAVEL_INSECURE_NO_AUTH="true")
    command = image.words("ENTRYPOINT") + image.words("CMD")
    server = subprocess.Popen(image.inside(command, "--ro-bind", image.user))
    try:
        healthy = image.words("HEALTHCHECK")
        for _ in range(100):
            probe = subprocess.run(image.inside(healthy, "--ro-bind", image.user), capture_output=True)
            ready = subprocess.run(image.inside(["gavel", "probe"], "--ro-bind", image.user), capture_output=True)
            if probe.returncode == ready.returncode == 0:
                break
            time.sleep(0.1)
        else:
            raise AssertionError(f"it does not get healthy: {probe.stderr.decode()} {ready.stderr.decode()}")
        body = json.dumps({"question": "What is it?", "response": "A cat.", "mode": "score"}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/judge", body, {"content-type": "application/json"}
        )
        verdict = json.load(urllib.request.urlopen(request))
        assert 1 <= verdict["score"] <= 10, verdict
        status = pathlib.Path(f"/proc/{process_of(server.pid)}/status").read_text()
        assert re.search(rf"(?m)^Uid:\t{image.user}\t{image.user}\t", status), status
        assert re.search(r"(?m)^CapEff:\t0+$", status), status
        os.kill(process_of(server.pid), signal.__dict__[image.said["STOPSIGNAL"].strip()])
        assert server.wait(30) == 0
    finally:
        server.kill()


def process_of(process):
    """The program below the processes of the sandbox."""
    while True:
        children = pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split()
        if not children:
            return process
        process = int(children[0])


def main():
    path, made = pathlib.Path(sys.argv[1]), dict(word.split("=", 1) for word in sys.argv[2:])
    found = stages(path)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "skeleton").mkdir()
        check_skeleton(found["skeleton"][1], folder / "skeleton")
        print("skeleton: ok")
        (folder / "image").mkdir()
        # Its users are to come in.
        folder.chmod(0o755)
        check_image(*found["image"], made, folder / "image")
        print("image: ok")


main()
