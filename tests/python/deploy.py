"""Checks what `deploy` and the Dockerfile say, each by the schema or linter of what reads it.

Exits with an error that names what is wrong."""

import pathlib
import subprocess
import sys
import tomllib

import compose_spec
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
# The oldest and the newest API that is supported.
VERSIONS = ["1.30", "1.37"]
# Kinds that Kubernetes itself does not know.
FOREIGN = {"Kustomization", "ServiceMonitor"}


def manifests():
    for path in sorted(KUBERNETES.glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text()):
            yield path.name, manifest


def check_kubernetes():
    checked = 0
    for name, manifest in manifests():
        if manifest["kind"] not in FOREIGN:
            for version in VERSIONS:
                kubernetes_validate.validate(manifest, version, strict=True)
            checked += 1
    assert checked == 7, checked


def one(kind, name="gavel"):
    found = [m for _, m in manifests() if m["kind"] == kind and m["metadata"]["name"] == name]
    assert len(found) == 1, (kind, name)
    return found[0]


def check_references():
    """What one manifest names in another is there."""
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted({name for name, _ in manifests()} - {"kustomization.yaml"})
    pod = one("Deployment")["spec"]["template"]
    labels = pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    selectors = [
        one("Deployment")["spec"]["selector"]["matchLabels"],
        one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        one("Service")["spec"]["selector"],
        one("Service", "gavel-replicas")["spec"]["selector"],
    ]
    for selector in selectors:
        assert selector.items() <= labels, selector
    for service in ("gavel", "gavel-replicas"):
        assert {port["targetPort"] for port in one("Service", service)["spec"]["ports"]} <= ports
    assert one("NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"] in ports
    target = one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert one(target["kind"], target["name"])["apiVersion"] == target["apiVersion"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    # The monitor's port is that of exactly one service.
    endpoint = one("ServiceMonitor")["spec"]["endpoints"][0]["port"]
    services = [m for _, m in manifests() if m["kind"] == "Service"]
    assert sum(port["name"] == endpoint for s in services for port in s["spec"]["ports"]) == 1
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    # The same user in the image and in the cluster.
    user = pod["spec"]["securityContext"]["runAsUser"]
    assert f"\nUSER {user}\n" in (ROOT / "Dockerfile").read_text()


def seconds_of_drain():
    """What the server gives running requests when nobody says otherwise."""
    return tomllib.loads((ROOT / "config/gavel.toml").read_text())["server"]["shutdown_timeout_s"]


def check_grace():
    """Whoever ends a server waits longer than the server takes."""
    drain = seconds_of_drain()
    pod = one("Deployment")["spec"]["template"]["spec"]
    arguments = pod["containers"][0]["args"]
    pause = int(arguments[arguments.index("--shutdown-pause-s") + 1])
    probe = pod["containers"][0]["readinessProbe"]
    assert pause >= probe["periodSeconds"] * probe["failureThreshold"], "proxies know before it ends"
    assert pod["terminationGracePeriodSeconds"] > pause + drain
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


def check_dockerfile():
    hadolint = pathlib.Path(sys.executable).with_name("hadolint")
    subprocess.run([hadolint, ROOT / "Dockerfile"], check=True)
    stages = set()
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        words = line.split()
        if words[:1] == ["FROM"] and len(words) == 4:
            stages.add(words[3])
        if words[:1] == ["COPY"]:
            sources = [word for word in words[1:-1] if not word.startswith("--")]
            origin = [word.split("=")[1] for word in words if word.startswith("--from=")]
            assert all(stage in stages for stage in origin), line
            assert origin or all((ROOT / source).exists() for source in sources), line
    version = next(line for line in (ROOT / "rust-toolchain.toml").read_text().splitlines() if "channel" in line)
    assert (ROOT / "Dockerfile").read_text().count(f"FROM rust:{version.split(chr(34))[1]}-") == 2


for check in (check_kubernetes, check_references, check_grace, check_compose, check_dockerfile):
    check()
    print(f"{check.__name__}: ok")
