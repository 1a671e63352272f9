"""The chart, several sets of values for it, and what Helm's own engine makes of them."""

import pathlib
import subprocess
import sys
import tomllib

import helm_python
import yaml

ROOT = pathlib.Path(__file__).parents[3]
CHART = ROOT / "deploy" / "helm" / "gavel"
# The program.
GAVEL = sys.argv[1]
RUBRIC = (ROOT / "config/rubrics/helpfulness.toml").read_text()
CRITIC = (ROOT / "config/critics/llava-critic.toml").read_text()
SETS = {
    "default": {},
    "a large critic on an accelerator": {
        "gpu": {"count": 1, "runtimeClassName": "nvidia"},
        "config": {
            "critic": {"model": "lmms-lab/llava-critic-7b", "quantize": "q8", "cache_mib": 4096},
            "hub": {"revision": "main"},
            "log": {"judging_log": "/log/verdicts.jsonl", "judging_log_redact": ["images", "text"]},
        },
        "hubToken": {"existingSecret": "0123"},
        "keys": {"existingSecret": "keys"},
        "monitoring": {
            "serviceMonitor": {"enabled": True, "authorizationSecret": {"name": "metrics", "key": "token"}}
        },
        "modelCache": {"existingClaim": "checkpoints", "readOnly": True},
        "networkPolicy": {"hub": True, "monitoring": []},
        "nodeSelector": {"accelerator": "yes"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "extraVolumes": [{"name": "log", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "log", "mountPath": "/log"}],
        "maxSurge": 0,
    },
    "proxy and TLS": {
        "proxy": {"enabled": True, "tlsSecret": "certificate", "priorityClassName": "high"},
        "service": {"type": "LoadBalancer", "port": 443, "annotations": {"load-balancer": "internal"}},
        "imagePullSecrets": [{"name": "registry"}],
        "image": {"repository": "registry.example/gavel", "digest": f"sha256:{'0' * 64}"},
        "config": {"server": {"request_timeout_s": 90}},
    },
    "ingress": {
        "ingress": {"enabled": True, "className": "nginx", "hosts": ["judge.example"], "tlsSecret": "certificate"},
        "serviceAccount": {"create": False},
        "networkPolicy": {"enabled": False},
        "disruption": {"enabled": False},
        "extraArgs": ["--offline"],
        "extraEnv": [{"name": "RUST_LOG", "value": "debug"}],
        "shutdown": {"preStopSeconds": 5},
    },
    "autoscaling and monitoring": {
        "autoscaling": {"enabled": True, "maxReplicas": 20},
        "monitoring": {
            "labels": {"release": "prometheus"},
            "serviceMonitor": {"enabled": True},
            "rules": {"enabled": True},
        },
        "proxy": {"enabled": True, "replicas": 3},
        "affinity": {"nodeAffinity": {}},
        "rules": {"rubrics": {"ours": RUBRIC}, "critics": {"ours": CRITIC}},
        "podLabels": {"team": "judges"},
        "podAnnotations": {"note": "a"},
        "fullnameOverride": "judge",
    },
}
chart = helm_python.Chart.load(CHART)


def documents(values):
    """What the chart makes of `values`, each with its name in the form `Kind/name`."""
    chart.validate_schema(values)
    made = {}
    for path, text in chart.render(values, name="gavel", namespace="judges").items():
        for document in yaml.safe_load_all("" if path.endswith("NOTES.txt") else text):
            if document is not None:
                name = f"{document['kind']}/{document['metadata']['name']}"
                assert name not in made, f"{name} is there twice"
                made[name] = document
    return made


def notes(values):
    return chart.render(values, name="gavel", namespace="judges")["gavel/templates/NOTES.txt"]


def refusal(values):
    """Why these values are refused."""
    try:
        chart.validate_schema(values)
        chart.render(values, name="gavel", namespace="judges")
    except helm_python.HelmError as error:
        return str(error)
    raise AssertionError(f"{values} should be refused")


def pods(made):
    """Labels and specification of each deployment's pods."""
    for name, document in made.items():
        if document["kind"] == "Deployment":
            template = document["spec"]["template"]
            yield name, template["metadata"]["labels"], template["spec"]


def judge(values):
    (found,) = [spec for _, labels, spec in pods(documents(values)) if labels["app.kubernetes.io/component"] == "judge"]
    return found


def proxy(values):
    (found,) = [spec for _, labels, spec in pods(documents(values)) if labels["app.kubernetes.io/component"] == "proxy"]
    return found


def environment(container):
    return {entry["name"]: entry.get("value") for entry in container["env"]}


def settings(values):
    (text,) = [d["data"]["gavel.toml"] for d in documents(values).values() if "gavel.toml" in d.get("data", {})]
    return tomllib.loads(text)


def run(command, variables=None):
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
