#!/bin/bash
# Everything that can be said of the code without running it; `make check` and .ci/run call it. Goes on after a failure,
# so that one run tells all.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=()

check() {
    local title="$1" begun=$SECONDS
    shift
    printf '==> %s\n' "$title"
    if "$@"; then
        printf '    fine, %d s\n' "$((SECONDS - begun))"
    else
        failed+=("$title")
        printf '    FAILED: %s\n' "$*"
    fi
}

quiet() {
    local output
    output=$("$@" 2>&1) || { printf '%s\n' "$output"; return 1; }
}

chart() {
    local helm
    helm="$(.venv/bin/python -m lab.programs --helm)/helm" || return 1
    "$helm" lint --strict --quiet charts/stratiform || return 1
    quiet "$helm" template stratiform charts/stratiform --namespace stratiform-system --include-crds
}

check "formatting" .venv/bin/ruff format --check --quiet .
check "lint" .venv/bin/ruff check --quiet .
check "types" .venv/bin/mypy
check "import contracts" quiet .venv/bin/lint-imports
check "generated manifests" .venv/bin/python -m crds --check
check "chart" chart

if (( ${#failed[@]} )); then
    printf 'make check: %d of 6 failed:' "${#failed[@]}"
    printf ' %s;' "${failed[@]}"
    printf '\n'
    exit 1
fi
printf 'make check: all 6 fine in %d s\n' "$SECONDS"
