#!/usr/bin/env bash
# Makes gavel-mini again from nothing: environment, tokenizer, the stages, the checkpoint.  About four hours on two cores.
#   training/rebuild.sh [work folder]          (default: ./training-run; the checkpoint goes to crates/embedded/checkpoint)
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
work="${1:-training-run}"
out="${OUT:-$here/../crates/embedded/checkpoint}"
mkdir -p "$work"
work="$(cd "$work" && pwd)"
[ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q -r "$here/requirements.txt"
py="$work/venv/bin/python"
export OMP_WAIT_POLICY=PASSIVE KMP_BLOCKTIME=0 PYTHONDONTWRITEBYTECODE=1
cd "$here"
"$py" make_words.py --seed 1 --out "$work/tokenizer.json"
"$py" train_sight.py --seed 1 --steps "${SIGHT_STEPS:-4000}" --out "$work/sight"
"$py" train.py --seed 1 --steps "${STEPS:-6000}" --sight "$work/sight/sight.pt" --tokenizer "$work/tokenizer.json" --out "$work/critic"
"$py" export.py --critic "$work/critic/critic.pt" --tokenizer "$work/tokenizer.json" --out "$out" --check
"$py" evaluate.py --local "$out" --scenes "${SCENES:-400}" --out "$work/evaluation"
