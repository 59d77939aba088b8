#!/usr/bin/env bash
# Makes an interpreter with TensorFlow beside gpubench and torch, for the cases of suites/frameworks.yaml that need it:
# the two are 7 GB together and want different versions of shared packages, so TensorFlow is in no extra.
#
#   scripts/make_tensorflow_env.sh [FOLDER]      (default .tensorflow)
#
# PYTHON chooses the interpreter (python3). Needs the network and about 7 GB.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$here/.tensorflow}
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check -e "$here[lightning]" "tensorflow>=2.17"
"$folder/bin/python" -c 'import gpubench, tensorflow, torch; print(f"TensorFlow {tensorflow.__version__}, torch {torch.__version__}")'
echo "$folder/bin/gpubench run frameworks"
