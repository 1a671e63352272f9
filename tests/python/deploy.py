"""Checks what `deploy` (but for the chart) and the Dockerfile say, each by the schema or linter of what reads it.

Exits with an error that names what is wrong."""

import pathlib
import subprocess
import sys
import tomllib

import compose_spec
import yaml

ROOT = pathlib.Path(__file__).parents[2]


def seconds_of_drain():
    """What the server gives running requests when nobody says otherwise."""
    return tomllib.loads((ROOT / "config/gavel.toml").read_text())["server"]["shutdown_timeout_s"]


def check_grace():
    """Whoever ends a server waits longer than the server takes."""
    drain = seconds_of_drain()
    compose = yaml.safe_load((ROOT / "deploy/docker/compose.yaml").read_text())
    assert int(compose["services"]["gavel"]["stop_grace_period"].rstrip("s")) > drain
    unit = (ROOT / "deploy/systemd/gavel.service").read_text()
    assert int(unit.split("TimeoutStopSec=")[1].split()[0]) > drain


def check_compose():
    path = ROOT / "deploy" / "docker" / "compose.yaml"
    compose = yaml.safe_load(path.read_text())
    compose_spec.models.ComposeSpecification.model_validate(compose)
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = (path.parent / source).exists() if source.startswith(".") else source in compose["volumes"]
            assert there, volume
    datasource = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yaml").read_text())
    assert datasource["datasources"][0]["url"] == "http://prometheus:9090" and "prometheus" in compose["services"]
    dashboards = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/gavel.yaml").read_text())
    folder = dashboards["providers"][0]["options"]["path"]
    assert any(volume.split(":")[1] == folder for volume in compose["services"]["grafana"]["volumes"])


def check_dockerfiles():
    for path in (ROOT / "Dockerfile", ROOT / "deploy/docker/Dockerfile.cuda"):
        check_dockerfile(path)


def check_dockerfile(path):
    hadolint = pathlib.Path(sys.executable).with_name("hadolint")
    subprocess.run([hadolint, path], check=True)
    stages = set()
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:1] == ["FROM"] and len(words) == 4:
            stages.add(words[3])
        if words[:1] == ["COPY"]:
            sources = [word for word in words[1:-1] if not word.startswith("--")]
            origin = [word.split("=")[1] for word in words if word.startswith("--from=")]
            assert all(stage in stages for stage in origin), line
            assert origin or all((ROOT / source).exists() for source in sources), line
    version = next(line for line in (ROOT / "rust-toolchain.toml").read_text().splitlines() if "channel" in line)
    assert path.read_text().count(f"FROM rust:{version.split(chr(34))[1]}-") == 2


for check in (check_grace, check_compose, check_dockerfiles):
    check()
    print(f"{check.__name__}: ok")
