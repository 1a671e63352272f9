"""Holds the bill of materials that is named to the schema of CycloneDX."""

import pathlib
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main():
    text = pathlib.Path(sys.argv[1]).read_text()
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    if fault := validator.validate_str(text):
        sys.exit(f"{sys.argv[1]}: {fault}")
    # The schema is really looked at: a bill without its version is none.
    if not validator.validate_str(text.replace('"specVersion"', '"specification"', 1)):
        sys.exit("the validator takes anything")


if __name__ == "__main__":
    main()
