#!/usr/bin/env bash
# A verdict on one response, the better of two, and the rewards of three, about one picture.
set -euo pipefail
url=${GAVEL_URL:-http://127.0.0.1:8080}
picture="data:image/png;base64,$(base64 <training/examples/scene.png | tr -d '\n')"

ask() {
  curl --silent --show-error --fail-with-body "$url$1" --header 'content-type: application/json' \
    ${GAVEL_API_KEY:+--header "authorization: Bearer $GAVEL_API_KEY"} --data @-
  echo
}

ask /judge <<EOF
{ "question": "What colour is the circle?", "images": ["$picture"], "response": "The circle is purple." }
EOF

ask /judge <<EOF
{ "question": "What colour is the circle?", "images": ["$picture"],
  "responses": ["The circle is orange.", "The circle is purple."], "order": "both" }
EOF

ask /reward <<EOF
{ "question": "What colour is the circle?", "images": ["$picture"],
  "responses": ["The circle is orange.", "The circle is purple.", "I like music."] }
EOF
