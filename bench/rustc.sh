#!/usr/bin/env bash
# rustc's own source, started elsewhere beside the warm directory: the same commit, and one function body edited.
#
# usage: [X="build --stage 1 compiler"] bench/rustc.sh TREE HEADSTART ROUNDS FILE...
#
# TREE is a work tree of rustc's source, committed, with a bootstrap.toml (or config.toml) with which `x check compiler`, or what X says,
# works. It is built once through HEADSTART and published; then, in each round, a fresh clone at another path starts and runs that, for
# each FILE with one line added to the first function of it, and the warm directory runs the same. Prints seconds and ratios; the
# warm directory's edits are taken back.
set -euo pipefail
tree=$(realpath "$1") headstart=$(realpath "$2") rounds=$3
shift 3
read -ra x <<<"${X:-check compiler}"
scratch=$(mktemp -d "${SCRATCH:-/tmp}/headstart-bench-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export RUSTC_WRAPPER="$headstart" HEADSTART_STORE="$scratch/store"

seconds() { # prints how long "$@" takes
    local start end
    start=$(date +%s.%N)
    "$@" >"$scratch/log" 2>&1 || { tail -20 "$scratch/log" >&2; exit 1; }
    end=$(date +%s.%N)
    echo "$end - $start" | bc
}
edit() { # adds a statement to the first function body of $1
    python3 - "$1" <<'PY'
import re, sys
path = sys.argv[1]
text = open(path).read()
at = re.search(r"\n    (?:pub )?fn [^;{]*\{\n", text).end()
open(path, "w").write(text[:at] + "        let _edited = 1;\n" + text[at:])
PY
}
fresh() { # a clone elsewhere, as a contributor has it
    rm -rf "$scratch/deep"
    git clone -q "$tree" "$scratch/deep/rust"
    cp "$tree"/{bootstrap,config}.toml "$scratch/deep/rust/" 2>/dev/null || true
}
here() { (cd "$1" && ./x.py "${x[@]}"); }
there() { (cd "$scratch/deep/rust" && "$headstart" start -- x "${x[@]}"); }

echo "publishing: $(cd "$tree" && seconds "$headstart" publish -- x "${x[@]}") s in all"
here "$tree" >/dev/null 2>&1
for round in $(seq "$rounds"); do
    fresh
    a=$(seconds there)
    b=$(seconds here "$tree")
    echo "round $round, same commit: there $a s, nothing to do here $b s"
    for file in "$@"; do
        fresh
        edit "$scratch/deep/rust/$file"
        a=$(seconds there)
        edit "$tree/$file"
        b=$(seconds here "$tree")
        git -C "$tree" checkout -q "$file"
        here "$tree" >/dev/null 2>&1
        echo "round $round, $file: there $a s, warm here $b s, ratio $(echo "scale=3; $a / $b" | bc)"
    done
done
