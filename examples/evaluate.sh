#!/usr/bin/env bash
# Measures how far the critic of a running server agrees with a labelled set, and its biases for position and length.
# GAVEL is the program, where it is not on the PATH: GAVEL=target/release/gavel examples/evaluate.sh
set -euo pipefail
"${GAVEL:-gavel}" evaluate tests/data/toy/labels.jsonl --url "${GAVEL_URL:-http://127.0.0.1:8080}"
