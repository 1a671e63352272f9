"""Reads lines of JSON, each a list of a schema and a document, and tells which documents are not valid under their schemas."""

import json
import sys

import jsonschema

count = 0
for line in sys.stdin:
    schema, document = json.loads(line)
    jsonschema.Draft202012Validator.check_schema(schema)
    for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
        sys.exit(f"{document} under {schema}: {error.message}")
    count += 1
print(f"{count} documents are valid")
