"""What is made of other files: the settings in the schema, of config/gavel.toml; the README's table, of values.yaml.

With UPDATE_EXPECT=1 it is made anew, otherwise compared."""

import json
import os
import re
import subprocess
import tempfile
import tomllib

from rendered import CHART, GAVEL, ROOT, chart


def check_settings():
    """The schema knows the settings that config/gavel.toml has."""
    kinds = {bool: "boolean", int: "integer", str: "string"}
    sections = documented_settings()
    fractions = settings_of_fractions(sections)

    def kind(section, key, value):
        if isinstance(value, list):
            return {"type": "array", "items": {"type": kinds[type(value[0])]}}
        return {"type": "number" if (section, key) in fractions else kinds[type(value)]}

    def strict(properties):
        return {"type": "object", "additionalProperties": False, "properties": properties}

    wanted = {section: strict({k: kind(section, k, v) for k, v in keys.items()}) for section, keys in sections.items()}
    path = CHART / "values.schema.json"
    schema = json.loads(path.read_text())
    schema["$defs"]["config"] = strict(wanted)
    up_to_date(path, dense(schema) + "\n")


def documented_settings():
    """All settings that values may have, of config/gavel.toml, by section, with a value of each."""
    text = (ROOT / "config/gavel.toml").read_text()
    found = tomllib.loads(re.sub(r"(?m)^# ([a-z_]+ = )", r"\1", text))
    # The chart sets these itself, or has a secret for them.
    own = {"host", "port", "shutdown_pause_s", "shutdown_timeout_s", "config_dir", "hub_token", "hub_cache"}
    # Who may ask is a matter of `keys`, and TLS one of the proxy.
    own |= {"keys_file", "insecure_no_auth", "allowed_hosts", "metrics_on_main", "tls_cert", "tls_key", "tls_client_ca"}
    left = {section: {k: v for k, v in keys.items() if k not in own} for section, keys in found.items()}
    return {section: keys for section, keys in left.items() if keys}


def settings_of_fractions(sections):
    """The numbers that need not be whole ones: those of which the program takes a half."""
    numbers = {(s, k) for s, keys in sections.items() for k, value in keys.items() if type(value) in (int, float)}
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        for section in sections:
            file.write(f"[{section}]\n" + "".join(f"{k} = 0.5\n" for s, k in sorted(numbers) if s == section))
        file.flush()
        told = subprocess.run([GAVEL, "config", "check", file.name], capture_output=True, text=True).stderr
    return {(section, key) for section, key in numbers if f" {section}.{key}: " not in told}


def dense(value, depth=0):
    """JSON with what fits into a line in one line."""
    line = json.dumps(value)
    if not isinstance(value, dict) or len(line) + 2 * depth <= 100:
        return line
    inner = "  " * (depth + 1)
    entries = [f"{inner}{json.dumps(key)}: {dense(entry, depth + 1)}" for key, entry in value.items()]
    return "{\n" + ",\n".join(entries) + "\n" + "  " * depth + "}"


def check_table():
    """Each value has a comment, and the README has them all."""
    path, rows, comment = [], [], []
    for line in (CHART / "values.yaml").read_text().splitlines():
        word = line.strip()
        depth = (len(line) - len(line.lstrip())) // 2
        if word.startswith("# "):
            comment.append(word[2:])
        elif not word:
            comment = []
        elif depth <= len(path):
            key = re.match(r"([A-Za-z]+):", word)
            path = path[:depth] + [key[1]] if key else path
            if key and comment:
                value = chart.values
                for name in path:
                    value = value[name]
                rows.append(f"| `{'.'.join(path)}` | `{json.dumps(value)}` | {' '.join(comment)} |")
                # What is below belongs to this value.
                path = path[:depth]
            else:
                assert not key or word.endswith(":"), f"{word} has no comment"
            comment = []
    readme = CHART / "README.md"
    before, rest = readme.read_text().split("| value | default | |\n|---|---|---|\n")
    after = rest[rest.index("\n\n") :]
    up_to_date(readme, before + "| value | default | |\n|---|---|---|\n" + "\n".join(rows) + after)
    assert len(rows) > 60, len(rows)


def up_to_date(path, text):
    if os.environ.get("UPDATE_EXPECT"):
        path.write_text(text)
    assert path.read_text() == text, f"{path} is not up to date: run this with UPDATE_EXPECT=1"
