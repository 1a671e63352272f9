#!/usr/bin/env bash
# Measures how far the critic of a running server agrees with the labels of a set, and its liking for places and length.
set -euo pipefail
"${GAVEL:-gavel}" evaluate tests/data/toy/labels.jsonl --url "${GAVEL_URL:-http://127.0.0.1:8080}"
