#!/usr/bin/env bash
# Publishes one commit after the other of a real workspace to a remote directory: what each adds, by kind of file.
#
#   bench/deltas.sh REPOSITORY REVISION HEADSTART PACKS COMMITS OUT [CARGO ARGS...]
#
# Takes the last COMMITS + 1 first-parent commits up to REVISION that change Rust code; the first is published whole. PACKS is the
# built example of that name. Writes OUT.tsv (the table that PACKS prints), OUT.publish (seconds of cargo, of publishing, of
# writing to the remote; bytes and requests of that)
# and OUT.svg, and prints medians. A commit that does not build is passed over.
set -euo pipefail
repo=$1 rev=$2 headstart=$(realpath "$3") packs=$(realpath "$4") commits=$5 out=$(realpath -m "$6")
shift 6
args=("${@:-build}")
here=$(dirname "$(realpath "$0")")
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-deltas-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export CARGO_TERM_COLOR=never GIT_ADVICE=0 HEADSTART_STORE=$scratch/store

git clone --quiet --no-checkout "$repo" "$scratch/clone"
cd "$scratch/clone"
: >"$out.publish"
for commit in $(git log --first-parent --format=%H -$((commits + 1)) "$rev" -- '*.rs' | tac); do
    git -c advice.detachedHead=false checkout --quiet --detach "$commit"
    if "$headstart" publish --required --json --remote "file://$scratch/remote" -- "${args[@]}" >"$scratch/said" 2>"$scratch/log"; then
        python3 -c 'import json, sys
said = json.load(open(sys.argv[1]))
far = said["remotes"][0]
seconds = [said[key] for key in ("cargo_seconds", "publish_seconds", "push_seconds")]
print(sys.argv[2][:10], *(f"{one:.2f}" for one in seconds), far["bytes"], far["requests"], sep="\t")' "$scratch/said" "$commit" >>"$out.publish"
    else
        echo "$commit does not build" >&2
        tail -3 "$scratch/log" >&2
    fi
done
"$packs" "$scratch/store" "$scratch/remote" --times >"$out.tsv"
python3 "$here/deltas.py" "$out"
