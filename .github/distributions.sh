#!/usr/bin/env bash
# Builds the wheel and the source distribution into a folder, and tries the wheel in an environment of its
# own, away from the repository. Run it in a checkout with its .venv.
set -euo pipefail
target=$(mkdir -p "$1" && cd "$1" && pwd)
python="$PWD/.venv/bin/python"
constraints="$PWD/constraints.txt"
"$python" -m build --outdir "$target" .
"$python" -m check_jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT
cd "$away"
"$python" -m venv fresh
fresh/bin/pip install --quiet --constraint "$constraints" "$target"/*.whl
fresh/bin/ssl-theory list
version=$(fresh/bin/python -c 'import ssl_theory; print(ssl_theory.__version__)')
[[ $(fresh/bin/python -c 'from importlib.metadata import version; print(version("ssl-theory"))') == "$version" ]]
[[ -f $target/ssl_theory-$version-py3-none-any.whl && -f $target/ssl_theory-$version.tar.gz ]]
echo "the wheel of $version works outside the repository"
