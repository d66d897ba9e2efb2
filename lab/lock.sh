#!/bin/bash
# Makes requirements.lock anew from pyproject.toml, with hashes and without the name of any index. `make lock` calls it.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/python -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pip-tools
# In a folder of its own: only pyproject.toml is looked at, not the packages beside it.
cp pyproject.toml requirements.lock "$work/"
touch "$work/README.md"
cd "$work"
CUSTOM_COMPILE_COMMAND="make lock" venv/bin/pip-compile --quiet --all-extras --generate-hashes --allow-unsafe --strip-extras \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
    --output-file requirements.lock pyproject.toml
cp requirements.lock "$OLDPWD/requirements.lock"
