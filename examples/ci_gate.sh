#!/bin/sh
# Fail a pull request that makes a network cost more energy. Run it in the checkout of the change:
#
#   sh examples/ci_gate.sh BASE_COMMIT study.yaml        # measures both commits, then compares
#   sh examples/ci_gate.sh runs/base runs/new            # compares two runs that are there
#
# gb bench ... --dry-run checks a design; a finished run holds it: cp runs/NAME/study.yaml .
# With repetitions: 10 in it, intervals are narrow; with 3, most cells are too noisy to tell.
# Each commit exports its own artifacts: a changed network is measured as it is there.
#
# Exit codes: 0 no cell is worse; 1 a cell is worse; 5 a cell is too noisy to tell; 2 and 3 an error.
set -eu

THRESHOLD=${THRESHOLD:-3%}  # a smaller difference does not matter

base=$1
new=$2
if [ ! -d "$base" ]; then
    study=$(realpath "$2")
    out=$(mktemp -d)
    for side in base new; do
        commit=HEAD
        [ $side = new ] || commit=$1
        git worktree add --quiet --detach "$out/$side-tree" "$commit"
        (cd "$out/$side-tree" && gb bench --study "$study" --out "$out/$side")
        git worktree remove --force "$out/$side-tree"
    done
    base=$out/base
    new=$out/new
fi

exec gb compare "$base" "$new" --threshold "$THRESHOLD" --fail-on-noise \
    --markdown --junit "${JUNIT:-energy.xml}"
