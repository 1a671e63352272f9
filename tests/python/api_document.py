"""Holds a server to its API document. Usage: api_document.py URL, of a server with the small critic.

Every operation, parameter and field has a description. Every operation has an example of what it takes and of what comes of it, and
each fits its schema. Then each example is sent, and the answer must have the documented status and fit the documented schema, without
a member that the schema does not name.

Which answer belongs to a request is told by the examples' names; a request whose name no answer has must succeed. Where a path or an
example names an object by its id, as `file_id` or `input_file_id` do, and the document has a way to make such objects, as
`POST /v1/files`, one is made of the first example there. Other parameters have their examples as values."""

import copy
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

import jsonschema

EVENTS = "text/event-stream"
MULTIPART = "multipart/form-data"
METHODS = ("get", "post", "put", "patch", "delete")
faults = []


def fault(where, what):
    faults.append(f"{where}: {what}")


# What the document says


def described(schema):
    """Whether a schema has a description, be it beside one of its alternatives."""
    alternatives = [*schema.get("oneOf", []), *schema.get("anyOf", []), *schema.get("allOf", [])]
    return any(one.get("description", "").strip() for one in [schema, *alternatives])


def check_fields(schema, where):
    """Every field of a schema and of what is in it is described."""
    for name, field in schema.get("properties", {}).items():
        if not described(field):
            fault(f"{where}.{name}", "this field has no description")
        check_fields(field, f"{where}.{name}")
    for kind in ("items", "additionalProperties"):
        if isinstance(schema.get(kind), dict):
            check_fields(schema[kind], f"{where}[]")
    for kind in ("oneOf", "anyOf", "allOf", "prefixItems"):
        for one in schema.get(kind, []):
            check_fields(one, where)


def examples(content):
    """The examples of a content, by their names; the only one may have none."""
    if "example" in content:
        return {"": content["example"]}
    return {name: example["value"] for name, example in content.get("examples", {}).items()}


def closed(document):
    """The document in which no object has members that its schema does not name."""
    document = copy.deepcopy(document)
    schemas = document["components"]["schemas"]
    parts = {one["$ref"] for schema in schemas.values() for one in schema.get("allOf", []) if "$ref" in one}

    def close(schema, part=False):
        if isinstance(schema, list):
            for one in schema:
                close(one)
        elif isinstance(schema, dict):
            for name, inner in schema.items():
                if name == "allOf":
                    for one in inner:
                        close(one, part=True)
                elif name not in ("example", "examples", "default", "enum", "const"):
                    close(inner)
            open_ended = "additionalProperties" in schema or part
            if not open_ended and (isinstance(schema.get("properties"), dict) or "allOf" in schema):
                schema["unevaluatedProperties"] = False

    for name, schema in schemas.items():
        close(schema, part=f"#/components/schemas/{name}" in parts)
    return document


class Document:
    def __init__(self, document):
        self.paths, self.document, self.closed = document["paths"], document, closed(document)

    def operations(self):
        for path, item in self.paths.items():
            for method in METHODS:
                if method in item:
                    parameters = [*item.get("parameters", []), *item[method].get("parameters", [])]
                    yield f"{method.upper()} {path}", method, path, {**item[method], "parameters": parameters}

    def check(self, value, schema, where):
        """A value fits a schema, references and all."""
        whole = {**schema, "components": self.closed["components"]}
        validator = jsonschema.Draft202012Validator(whole)
        for error in sorted(validator.iter_errors(value), key=jsonschema.exceptions.relevance)[:1]:
            best = jsonschema.exceptions.best_match([error])
            fault(where, f"{best.json_path} does not fit its schema: {best.message[:300]}")


def check_references(document, value):
    """Every schema that is referred to is there."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        name = value.get("$ref", "")
        if isinstance(name, str) and name.startswith("#/components/schemas/"):
            if name.rsplit("/", 1)[1] not in document["components"]["schemas"]:
                fault(name, "there is no such schema")
        for inner in value.values():
            check_references(document, inner)


def check_words(document):
    check_references(document.document, document.document)
    for name, schema in document.document["components"]["schemas"].items():
        check_fields(schema, name)
        if "example" in schema:
            document.check(schema["example"], {"$ref": f"#/components/schemas/{name}"}, f"the example of {name}")
    known = set()
    for where, _, _, operation in document.operations():
        if operation["operationId"] in known:
            fault(where, f"another operation is called {operation['operationId']!r}, too")
        known.add(operation["operationId"])
        if not operation.get("summary"):
            fault(where, "there is no summary")
        for parameter in operation["parameters"]:
            if not parameter.get("description"):
                fault(where, f"the parameter {parameter['name']} has no description")


def check_examples(document):
    for where, _, _, operation in document.operations():
        bodies = [("what it takes", operation["requestBody"])] if "requestBody" in operation else []
        for status, answer in operation["responses"].items():
            if not answer.get("description"):
                fault(where, f"the answer {status} has no description")
        bodies += [(f"its {status}", answer) for status, answer in operation["responses"].items() if status < "3"]
        for what, body in bodies:
            found = [(kind, content) for kind, content in body.get("content", {}).items() if examples(content)]
            if body.get("content") and not found:
                fault(where, f"{what} has no example")
            for kind, content in found:
                for name, example in examples(content).items():
                    check_body(document, example, (kind, content), f"{where}: the example {name!r} of {what}")


def check_body(document, body, content, where):
    """A body, or the events in it, fits the schema of its content."""
    kind, content = content
    schema = content.get("schema", {})
    if kind == EVENTS:
        values = [line.split(":", 1)[1].strip() for line in body.split("\n") if line.startswith("data:")]
        if not values:
            fault(where, "there are no events")
        if schema.get("type") == "string":
            schema = {}
        for value in values:
            if value != "[DONE]":
                document.check(json.loads(value), schema, where)
    elif kind.endswith("json") or kind == MULTIPART:
        document.check(body, schema, where)


# What the server does


class Client:
    def __init__(self, url, document):
        self.url, self.document = url, document

    def ask(self, method, path, body=None, kind=None):
        """The status, the media type and the text of an answer."""
        headers = {}
        if kind == MULTIPART:
            body, kind = multipart(body)
        elif kind and kind.endswith("json"):
            body = json.dumps(body).encode()
        elif kind:
            body = body.encode()
        if kind:
            headers["content-type"] = kind
        request = urllib.request.Request(self.url + path, body, headers, method=method.upper())
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        media = (answer.headers["content-type"] or "").split(";")[0]
        return answer.status, media, answer.read().decode(errors="replace")

    def made(self, name):
        """The id of a new object, if `name` is that of an id and such objects can be made."""
        thing = name.removesuffix("_id").rsplit("_", 1)[-1]
        for path, item in self.document.paths.items():
            if name.endswith("_id") and path.endswith((f"/{thing}s", f"/{thing}es")) and "requestBody" in item.get("post", {}):
                (kind, content), *_ = item["post"]["requestBody"]["content"].items()
                status, _, text = self.ask("post", path, self.filled(next(iter(examples(content).values()))), kind)
                assert status in (200, 201, 202), f"{path} makes no {thing}: {text}"
                return json.loads(text)["id"]
        return None

    def filled(self, example):
        """An example with the ids of real objects."""
        if isinstance(example, dict):
            return {name: self.made(name) or self.filled(value) for name, value in example.items()}
        return [self.filled(value) for value in example] if isinstance(example, list) else example

    def address(self, path, operation, where):
        query = {}
        for parameter in operation["parameters"]:
            name, place = parameter["name"], parameter["in"]
            value = self.made(name) if place == "path" else None
            value = value or parameter.get("example", parameter.get("schema", {}).get("example"))
            if value is None and parameter.get("required"):
                fault(where, f"the parameter {name} has no example")
            elif place == "path":
                path = path.replace("{" + name + "}", urllib.parse.quote(str(value), safe=""))
            elif place == "query" and value is not None:
                query[name] = value
        return path + ("?" + urllib.parse.urlencode(query) if query else "")


def multipart(fields):
    """A form of an example's fields; the one called `file` is a file."""
    lines = []
    for name, value in fields.items():
        more = '; filename="example.jsonl"' if name == "file" else ""
        content = value if isinstance(value, str) else json.dumps(value)
        lines += ["--of-the-form", f'content-disposition: form-data; name="{name}"{more}', "", content]
    return "\r\n".join([*lines, "--of-the-form--", ""]).encode(), "multipart/form-data; boundary=of-the-form"


def check_live(client):
    """Sends every example and returns how many there were."""
    sent = 0
    for where, method, path, operation in client.document.operations():
        bodies = [(None, "", None)]
        if "requestBody" in operation:
            content = operation["requestBody"]["content"].items()
            bodies = [(kind, name, body) for kind, one in content for name, body in examples(one).items()]
        for kind, name, body in bodies:
            at = f"{where} with the example {name!r}" if name else where
            address = client.address(path, operation, where)
            answer = client.ask(method, address, client.filled(body), kind)
            check_answer(client.document, operation["responses"], (name, answer), at)
            sent += 1
    return sent


def check_answer(document, documented, named_answer, where):
    name, (status, media, text) = named_answer
    told = {(code, kind) for code, one in documented.items() for kind, content in one.get("content", {}).items()
            if name and name in examples(content)}  # fmt: skip
    expected = told or {(code, kind) for code, one in documented.items() if code < "3"
                        for kind in one.get("content", {"": {}})}  # fmt: skip
    if (str(status), media) not in expected:
        fault(where, f"the answer is {status} {media!r}, and {sorted(expected)} is documented: {text[:300]}")
        return
    content = documented[str(status)].get("content", {}).get(media, {})
    body = json.loads(text) if media.endswith("json") else text
    check_body(document, body, (media, content), f"the answer to {where}")


def main(url):
    document = Document(json.load(urllib.request.urlopen(f"{url}/openapi.json")))
    check_words(document)
    check_examples(document)
    sent = check_live(Client(url, document))
    if faults:
        sys.exit("\n".join(dict.fromkeys(faults)))
    print(f"{sent} examples: all well")


if __name__ == "__main__":
    main(*sys.argv[1:])
