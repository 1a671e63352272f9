// The same request as text to paste elsewhere. A key is never written into it: programs read it from the environment.

/** A command for a POSIX shell. The body comes from a here-document, which is as long as images need. */
export function curl({ url, body, keyed }) {
  const key = keyed ? ' -H "authorization: Bearer $GAVEL_API_KEY"' : "";
  // No line of JSON is the word that ends it, since line breaks in texts are escaped.
  return `curl -s '${url}' -H 'content-type: application/json'${key} --data-binary @- <<'EOF'\n${JSON.stringify(body, null, 2)}\nEOF\n`;
}

/** A program for Python 3 that needs no package. */
export function python({ url, body, keyed }) {
  const lines = [
    "import json",
    ...(keyed ? ["import os"] : []),
    "import urllib.request",
    "",
    `body = ${literal(body, "")}`,
    'headers = {"content-type": "application/json"}',
    ...(keyed ? ['headers["authorization"] = "Bearer " + os.environ["GAVEL_API_KEY"]'] : []),
    `request = urllib.request.Request(${JSON.stringify(url)}, json.dumps(body).encode(), headers)`,
    "with urllib.request.urlopen(request) as answer:",
    "    print(json.dumps(json.load(answer), indent=2))",
    "",
  ];
  return lines.join("\n");
}

/** A value as Python writes it. Texts of JSON are texts of Python. */
function literal(value, indent) {
  const inner = `${indent}    `;
  if (Array.isArray(value)) {
    return value.length ? `[\n${value.map((element) => `${inner}${literal(element, inner)},\n`).join("")}${indent}]` : "[]";
  }
  if (value === null || typeof value === "boolean") {
    return { null: "None", true: "True", false: "False" }[value];
  }
  if (typeof value === "object") {
    const members = Object.entries(value).map(([name, member]) => `${inner}${JSON.stringify(name)}: ${literal(member, inner)},\n`);
    return `{\n${members.join("")}${indent}}`;
  }
  return JSON.stringify(value);
}
