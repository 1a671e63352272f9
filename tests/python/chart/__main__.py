"""Checks the Helm chart, rendered by Helm's own engine: `python chart GAVEL`, with the path of the program.

Exits with an error that names what is wrong."""

import json
import os
import pathlib
import shutil
import tempfile
import tomllib

import helm_python
import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator import v1 as operator
from made import check_settings, check_table, documented_settings
from network import Packet, lets_through
from rendered import CHART, CRITIC, GAVEL, ROOT, RUBRIC, SETS, chart, documents, environment, judge, notes, pods, proxy
from rendered import refusal, run, settings

# The oldest and the newest API that is supported.
VERSIONS = ["1.30", "1.37"]
# HAProxy is where only some users' shells look.
PATH = {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
OPERATOR = {"ServiceMonitor": operator.ServiceMonitor, "PrometheusRule": operator.PrometheusRule}


def check_lint():
    for name, values in SETS.items():
        for version in VERSIONS:
            found = helm_python.lint(CHART, values, strict=True, kube_version=f"v{version}.0")
            # That a chart may have an icon is no finding.
            messages = [message for message in found["messages"] if message["error"] != "icon is recommended"]
            assert not messages and not found["errors"], (name, found)


def check_kinds():
    """Each object is what its API takes, and no more."""
    for name, values in SETS.items():
        for document in documents(values).values():
            if model := OPERATOR.get(document["kind"]):
                # The models pass over what they do not know: then less comes out than went in.
                read = model.model_validate(document).model_dump(by_alias=True, exclude_unset=True, mode="json")
                assert read == document, (name, document["kind"])
            else:
                for version in VERSIONS:
                    kubernetes_validate.validate(document, version, strict=True)
    kinds = {"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"}
    assert {document["kind"] for document in documents({}).values()} == kinds
    full = {document["kind"] for document in documents(SETS["autoscaling and monitoring"]).values()}
    assert full == kinds | {"HorizontalPodAutoscaler", *OPERATOR}
    closed = documents(SETS["ingress"])
    assert {document["kind"] for document in closed.values()} == {"ConfigMap", "Deployment", "Ingress", "Service"}


def check_container():
    """The container is the image's, and closed: what the policy `restricted` of pod security asks for, and more."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"\nUSER {judge({})['securityContext']['runAsUser']}\n" in dockerfile
    given = environment(judge({})["containers"][0])
    for name, value in {"GAVEL_HOST": "0.0.0.0", "GAVEL_PORT": "8080", "HF_HUB_CACHE": "/cache"}.items():
        assert f"{name}={value}" in dockerfile and given[name] == value
    # Nothing else can be written or is there to be read.
    mounts = {mount["mountPath"]: mount["name"] for mount in judge({})["containers"][0]["volumeMounts"]}
    assert mounts == {given["HF_HUB_CACHE"]: "models", "/etc/gavel": "configuration"}
    for values in SETS.values():
        for name, _, spec in pods(documents(values)):
            pod, container = spec["securityContext"], spec["containers"][0]["securityContext"]
            assert pod["runAsNonRoot"] and pod["runAsUser"] > 0 and pod["seccompProfile"] == {"type": "RuntimeDefault"}
            closed = {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container == closed, name
            assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    paths = json.loads((ROOT / "openapi/gavel.json").read_text())["paths"]
    for spec in [judge({})["containers"][0], proxy({"proxy": {"enabled": True}})["containers"][0]]:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert spec.get(probe, {}).get("httpGet", {"path": "/livez"})["path"] in paths
    for path in chart.values["ingress"]["paths"]:
        # /decisions is another path of a route that is described once.
        assert any(route.startswith((path, f"/v1{path}")) for route in paths), path
    limits = judge({"gpu": {"count": 2}})["containers"][0]["resources"]["limits"]
    assert limits == {"nvidia.com/gpu": 2, "memory": "2Gi"}
    assert "nvidia.com/gpu" not in judge({})["containers"][0]["resources"]["limits"]


def check_references():
    """What one object names in another is there."""
    for values in SETS.values():
        made = documents(values)
        labels = {name: labels for name, labels, _ in pods(made)}
        services = [document for document in made.values() if document["kind"] == "Service"]
        for name, document in made.items():
            spec = document.get("spec", {})
            selector = {
                "Deployment": lambda: spec["selector"]["matchLabels"],
                "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
                "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"],
                "Service": lambda: spec["selector"],
            }.get(document["kind"])
            if selector:
                chosen = [pod for pod, has in labels.items() if selector().items() <= has.items()]
                assert len(chosen) == 1, (name, chosen)
                if document["kind"] == "Deployment":
                    assert chosen == [name]
        for name, has, spec in pods(made):
            (container,) = spec["containers"]
            volumes = {volume["name"]: volume for volume in spec["volumes"]}
            assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes), name
            for volume in volumes.values():
                if "configMap" in volume:
                    data = made[f"ConfigMap/{volume['configMap']['name']}"]["data"]
                    assert all(item["key"] in data for item in volume["configMap"].get("items", []))
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            for probe in ("readinessProbe", "livenessProbe"):
                assert next(iter(set(container[probe]) & {"httpGet", "tcpSocket"})) and ports == {"http": 8080}
            for spread in spec["topologySpreadConstraints"]:
                assert spread["labelSelector"]["matchLabels"].items() <= has.items()
            account = spec["serviceAccountName"]
            assert account == "default" or f"ServiceAccount/{account}" in made
        assert all(port["targetPort"] == "http" for service in services for port in service["spec"]["ports"])
        for document in made.values():
            if document["kind"] == "HorizontalPodAutoscaler":
                target = document["spec"]["scaleTargetRef"]
                assert "replicas" not in made[f"{target['kind']}/{target['name']}"]["spec"]
            if document["kind"] == "PodDisruptionBudget":
                # Otherwise a pod that never gets ready keeps its node from being drained.
                assert document["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
            if document["kind"] == "ServiceMonitor":
                chosen = document["spec"]["selector"]["matchLabels"].items()
                (endpoint,) = document["spec"]["endpoints"]
                scraped = [s for s in services if chosen <= s["metadata"]["labels"].items()]
                found = [s for s in scraped for port in s["spec"]["ports"] if port["name"] == endpoint["port"]]
                assert len(found) == 1 and found[0]["spec"]["clusterIP"] == "None", "each replica once"
                # The alerts know the job by this name.
                assert found[0]["metadata"]["labels"][document["spec"]["jobLabel"]] == "gavel"
            if document["kind"] == "Ingress":
                for rule in document["spec"]["rules"]:
                    for path in rule["http"]["paths"]:
                        backend = path["backend"]["service"]
                        (port,) = made[f"Service/{backend['name']}"]["spec"]["ports"]
                        assert port["port"] == backend["port"]["number"]


def check_grace():
    """Whoever ends a pod waits longer than the pod takes, whatever the values."""
    for shutdown in [{}, {"timeoutSeconds": 300}, {"pauseSeconds": 25, "preStopSeconds": 7}, {"marginSeconds": 1}]:
        parts = chart.values["shutdown"] | shutdown
        values = {"shutdown": shutdown, "proxy": {"enabled": True}, "config": {"server": {"request_timeout_s": 77}}}
        spec = judge(values)
        assert spec["terminationGracePeriodSeconds"] == sum(parts.values()), shutdown
        hook = spec["containers"][0].get("lifecycle", {"preStop": {"sleep": {"seconds": 0}}})
        assert hook["preStop"]["sleep"]["seconds"] == parts["preStopSeconds"]
        server = settings(values)["server"]
        assert server["shutdown_pause_s"] == parts["pauseSeconds"]
        assert server["shutdown_timeout_s"] == parts["timeoutSeconds"]
        front = proxy(values)
        assert front["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == parts["pauseSeconds"]
        assert front["terminationGracePeriodSeconds"] > parts["pauseSeconds"] + 77
        assert environment(front["containers"][0])["GAVEL_PROXY_TIMEOUT"] == "97s"
    documented = tomllib.loads((ROOT / "config/gavel.toml").read_text())["server"]
    assert chart.values["shutdown"]["timeoutSeconds"] == documented["shutdown_timeout_s"]
    unsaid = environment(proxy({"proxy": {"enabled": True}})["containers"][0])["GAVEL_PROXY_TIMEOUT"]
    assert unsaid == f"{documented['request_timeout_s'] + 20}s"
    late = {"probes": {"readiness": {"periodSeconds": 5, "failureThreshold": 3}}}
    assert "shutdown.pauseSeconds" in refusal(late), "proxies know before the replica ends"
    assert judge(late | {"shutdown": {"pauseSeconds": 15}})["terminationGracePeriodSeconds"] == 65
    for name, document in documents({"probes": {"startup": {"failureThreshold": 999}}}).items():
        if name == "Deployment/gavel":
            assert document["spec"]["progressDeadlineSeconds"] > 5 * 999


def check_rolling():
    """What the pods read at their start makes new pods when it changes, and nothing else does."""

    def templates(values):
        made = {name: d["spec"]["template"] for name, d in documents(values).items() if d["kind"] == "Deployment"}
        return json.dumps(made, sort_keys=True)

    plain = templates({})
    for change in [
        {"config": {"engine": {"max_sequences": 3}}},
        {"shutdown": {"timeoutSeconds": 31}},
        {"rules": {"rubrics": {"ours": RUBRIC}}},
    ]:
        assert templates(change) != plain, change
    changed = {"rules": {"rubrics": {"ours": RUBRIC + "# changed\n"}}}
    assert templates({"rules": {"rubrics": {"ours": RUBRIC}}}) != templates(changed)
    assert templates({"autoscaling": {"enabled": True}, "service": {"port": 81}}) == plain


def check_proxy():
    """HAProxy takes its configuration as the pod has it, and knows of as many replicas as there can be."""
    made = documents({"proxy": {"enabled": True}})
    assert made["ConfigMap/gavel-proxy"]["data"]["haproxy.cfg"] == (ROOT / "deploy/haproxy/haproxy.cfg").read_text()
    assert made["Service/gavel"]["spec"]["selector"]["app.kubernetes.io/component"] == "proxy"
    assert documents({})["Service/gavel"]["spec"]["selector"]["app.kubernetes.io/component"] == "judge"
    (headless,) = made["Service/gavel-replicas"]["spec"]["ports"]
    given = environment(proxy({"proxy": {"enabled": True}})["containers"][0])
    assert given["GAVEL_REPLICAS"] == f"gavel-replicas.judges.svc.cluster.local:{headless['port']}"
    for values, most in [({}, 4), ({"replicas": 9, "maxSurge": 0}, 9), ({"autoscaling": {"enabled": True}}, 13)]:
        container = proxy({"proxy": {"enabled": True}} | values)["containers"][0]
        assert environment(container)["GAVEL_REPLICAS_MAX"] == str(most)
    if not all(map(there, ("haproxy", "openssl"))):
        return
    with tempfile.TemporaryDirectory() as folder:
        subject = ["-subj", "/CN=judge.example", "-keyout", f"{folder}/tls.key", "-out", f"{folder}/tls.crt"]
        run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject])
        for values in [{"proxy": {"enabled": True}}, SETS["proxy and TLS"]]:
            container = proxy(values)["containers"][0]
            text = [d["data"]["haproxy.cfg"] for d in documents(values).values() if "haproxy.cfg" in d.get("data", {})]
            (pathlib.Path(folder) / "haproxy.cfg").write_text(text[0])
            place = {"/etc/gavel/": f"{folder}/", "/etc/gavel-tls/": f"{folder}/"}
            command = [replaced(word, place) for word in container["command"]]
            variables = {name: replaced(value, place) for name, value in environment(container).items()}
            secure = variables.get("GAVEL_PROXY_CERTIFICATE")
            assert (container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS") == bool(secure)
            run([*command, "-c"], PATH | variables)


def there(program):
    """Whether a program is here; on a machine for checks it must be."""
    found = shutil.which(program, path=PATH["PATH"])
    assert found or not os.environ.get("CI"), f"{program} is missing"
    return found


def replaced(text, pairs):
    for old, new in pairs.items():
        text = text.replace(old, new)
    return text


def check_configuration():
    """The program itself takes what the ConfigMap has."""
    every = {}
    for section, keys in documented_settings().items():
        # One of the two excludes the other.
        every[section] = {key: value for key, value in keys.items() if key != "weights"}
    for values in [*SETS.values(), {"config": every, "networkPolicy": {"extraEgress": [{}]}}]:
        made = documents(values)
        (volumes,) = [spec["volumes"] for _, labels, spec in pods(made) if labels["app.kubernetes.io/component"] == "judge"]
        (volume,) = [volume["configMap"] for volume in volumes if volume["name"] == "configuration"]
        data = made[f"ConfigMap/{volume['name']}"]["data"]
        assert sorted(item["key"] for item in volume["items"]) == sorted(data)
        with tempfile.TemporaryDirectory() as folder:
            for item in volume["items"]:
                path = pathlib.Path(folder) / item["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(data[item["key"]])
            run([GAVEL, "config", "check", f"{folder}/gavel.toml"])
            rules = pathlib.Path(folder) / "rules"
            assert rules.exists() == bool(values.get("rules"))
            if rules.exists():
                run([GAVEL, "rubric", "check", rules])
                assert settings(values)["critic"]["config_dir"] == "/etc/gavel/rules"
        for section, keys in values.get("config", {}).items():
            assert settings(values)[section].items() >= keys.items(), section
    arguments = judge(SETS["ingress"])["containers"][0]["args"]
    assert arguments == ["serve", "--config", "/etc/gavel/gavel.toml", "--offline"]


def check_monitoring():
    """The rules are those of deploy/prometheus, and the autoscaler's metric is made of one of them."""
    made = documents(SETS["autoscaling and monitoring"])
    files = [ROOT / "deploy/prometheus" / name for name in ("gavel.rules.yml", "gavel.alerts.yml")]
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    assert made["PrometheusRule/judge"]["spec"]["groups"] == groups
    for kind in OPERATOR:
        assert made[f"{kind}/judge"]["metadata"]["labels"]["release"] == "prometheus"
    keyed = {"keys": {"existingSecret": "keys"}, "monitoring": {"serviceMonitor": {"enabled": True}}}
    assert "authorizationSecret" in refusal(keyed), "without a key every scrape would be refused"
    named = {"name": "metrics", "key": "token"}
    keyed["monitoring"]["serviceMonitor"]["authorizationSecret"] = named
    for values, authorization in [(keyed, {"credentials": named}), (SETS["autoscaling and monitoring"], None)]:
        (monitor,) = [d for d in documents(values).values() if d["kind"] == "ServiceMonitor"]
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint.get("authorization") == authorization
    (metric,) = made["HorizontalPodAutoscaler/judge"]["spec"]["metrics"]
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "2"}
    eager = documents({"autoscaling": {"enabled": True, "drainSeconds": 0.5}})["HorizontalPodAutoscaler/gavel"]
    assert eager["spec"]["metrics"][0]["pods"]["target"]["averageValue"] == "0.5"
    adapter = next(block for block in blocks("yaml") if "seriesQuery" in block)
    (rule,) = yaml.safe_load(adapter)["rules"]["custom"]
    assert rule["name"]["as"] == metric["pods"]["metric"]["name"]
    records = {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    assert rule["seriesQuery"].split("{")[0] in records


def blocks(language):
    return [part.split("```")[0] for part in (CHART / "README.md").read_text().split(f"```{language}\n")[1:]]


def check_network():
    """Who is not named reaches nothing, and nothing goes out that is not named."""
    # What the server is told to reach must not be closed off silently.
    images = {"images": {"allow_any_public_image_host": True}}
    hosts = {"images": {"allow_image_hosts": ["images.example"]}}
    traces = {"traces": {"otlp_endpoint": "http://collector:4318"}}
    to_port = {"extraEgress": [{"ports": [{"protocol": "TCP", "port": 4318}]}]}
    for config, opened in [(images, {"hub": True}), (hosts, to_port), (traces, to_port)]:
        assert "networkPolicy.extraEgress" in refusal({"config": config}), config
        for policy in [opened, {"enabled": False}]:
            documents({"config": config, "networkPolicy": policy})
    assert "otlp_endpoint" in refusal({"config": traces, "networkPolicy": {"hub": True}}), "its port is not the hub's"
    client, other = {"gavel/client": "true"}, {"kubernetes.io/metadata.name": "elsewhere"}
    monitoring, own = {"kubernetes.io/metadata.name": "monitoring"}, {"kubernetes.io/metadata.name": "judges"}
    for values in [{}, {"proxy": {"enabled": True}}]:
        made = documents(values)
        policies = [document for document in made.values() if document["kind"] == "NetworkPolicy"]
        parts = {labels["app.kubernetes.io/component"]: labels for _, labels, _ in pods(made)}
        entry = parts.get("proxy", parts["judge"])

        def reaches(target, namespace, labels, port="http"):
            return lets_through(policies, "Ingress", Packet(target, namespace, labels, port, own))

        assert reaches(entry, client, {}) and not reaches(entry, client, {}, "other")
        assert not reaches(entry, other, {}) and not reaches(entry, own, {})
        assert reaches(parts["judge"], monitoring, {})
        assert not reaches(parts["judge"], other, entry), "a proxy's labels elsewhere open nothing"
        if "proxy" in parts:
            assert not reaches(parts["judge"], client, {}), "past the proxy"
            assert reaches(parts["judge"], own, entry) and not reaches(entry, monitoring, {})

        def leaves(source, namespace, labels, port):
            return lets_through(policies, "Egress", Packet(source, namespace, labels, port, own))

        for port in ("http", 53, 443):
            assert not leaves(parts["judge"], other, {}, port)
        if "proxy" in parts:
            assert leaves(entry, own, parts["judge"], "http") and leaves(entry, other, {}, 53)
            assert not leaves(entry, other, {}, 443) and not leaves(entry, own, {}, "http")
    hub = [d for d in documents({"networkPolicy": {"hub": True}}).values() if d["kind"] == "NetworkPolicy"]
    labels = {"app.kubernetes.io/name": "gavel", "app.kubernetes.io/instance": "gavel", "app.kubernetes.io/component": "judge"}
    for port, goes in [(443, True), (53, True), (80, False)]:
        assert lets_through(hub, "Egress", Packet(labels, other, {}, port, own)) == goes
    nobody = {"networkPolicy": {"clients": [], "monitoring": []}}
    for values in [nobody, nobody | {"proxy": {"enabled": True}}]:
        closed = [d for d in documents(values).values() if d["kind"] == "NetworkPolicy"]
        target = next(labels for _, labels, _ in reversed(list(pods(documents(values)))))
        front = labels | {"app.kubernetes.io/component": "proxy" if "proxy" in values else "judge"}
        for namespace in (client, other, monitoring):
            assert not lets_through(closed, "Ingress", Packet(front, namespace, {}, "http", own)), target


def check_notes():
    model = {"config": {"critic": {"model": "lmms-lab/llava-critic-7b"}}}
    assert "networkPolicy.hub" in notes(model) and "networkPolicy.hub" not in notes({})
    assert "networkPolicy.hub" not in notes(model | {"networkPolicy": {"hub": True}})
    held = {"config": {"critic": {"model": "/models/critic"}}}
    assert "networkPolicy.hub" not in notes(held)
    stored = {"config": {"storage": {"data_dir": "/data"}}}
    assert "data_dir" in notes(stored) and "data_dir" not in notes({}) + notes(stored | {"replicas": 1})
    assert "data_dir" in notes(stored | {"replicas": 1, "autoscaling": {"enabled": True}})
    assert "seriesQuery" not in notes({}) and "gavel_queue_drain_seconds" in notes({"autoscaling": {"enabled": True}})


def check_refusals():
    for values, told in [
        ({"replica": 3}, "replica"),
        ({"replicas": "three"}, "replicas"),
        ({"replicas": -1}, "replicas"),
        ({"shutdown": {"timeout": 3}}, "timeout"),
        ({"shutdown": {"marginSeconds": 0}}, "marginSeconds"),
        ({"config": {"engin": {}}}, "engin"),
        ({"config": {"engine": {"max_sequence": 3}}}, "max_sequence"),
        ({"config": {"engine": {"max_sequences": "many"}}}, "max_sequences"),
        ({"config": {"server": {"shutdown_timeout_s": 90}}}, "shutdown_timeout_s"),
        ({"config": {"hub": {"hub_token": "secret"}}}, "hub_token"),
        ({"extraArgs": ["--shutdown-timeout-s=90"]}, "extraArgs"),
        ({"extraArgs": ["--request-timeout-s", "90"]}, "extraArgs"),
        ({"extraEnv": [{"name": "GAVEL_SHUTDOWN_PAUSE_S", "value": "90"}]}, "extraEnv"),
        ({"extraEnv": [{"name": "GAVEL_PORT", "value": "90"}]}, "extraEnv"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"service": {"port": 0}}, "port"),
        ({"monitoring": {"serviceMonitor": {"authorizationSecret": {"name": "metrics"}}}}, "key"),
        ({"ingress": {"enabled": True}}, "hosts"),
        ({"networkPolicy": {"clients": [{}]}}, "clients"),
        ({"rules": {"rubrics": {"../ours": RUBRIC}}}, "ours"),
        ({"proxy": {"clusterDomain": "a b"}}, "clusterDomain"),
        ({"autoscaling": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}, "minReplicas"),
    ]:
        assert told in refusal(values), (values, refusal(values))


def check_package():
    """What is packed has the files that are links here."""
    with tempfile.TemporaryDirectory() as folder:
        archive = pathlib.Path(helm_python.package(CHART, destination=folder))
        packed = helm_python.Chart.load_archive(archive.read_bytes())
    for values in SETS.values():
        made = [one.render(values, name="gavel", namespace="judges") for one in (chart, packed)]
        assert made[0] == made[1]


def check_versions():
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert chart.version == chart.metadata["appVersion"] == version
    assert judge({})["containers"][0]["image"] == f"gavel:{version}"
    assert judge(SETS["proxy and TLS"])["containers"][0]["image"] == f"registry.example/gavel@sha256:{'0' * 64}"


if __name__ == "__main__":
    helm_python.disable_logging()
    for check in [value for name, value in list(globals().items()) if name.startswith("check_")]:
        check()
        print(f"{check.__name__}: ok")
