#!/usr/bin/env bash
# Looks for programs of the release lane that do not link, do not run, or hold other bytes than in a warm directory: real commits, each built
# in a fresh clone at another path from what was published before it.
#
#   bench/lane-stress.sh REPOSITORY REVISION HEADSTART COMMITS CHECK [CARGO ARGS...]
#
# Takes the last COMMITS + 1 first-parent commits up to REVISION that change Rust code. The first is published by a warm directory. For each
# of the rest: a clone starts and builds; the warm directory walks there, builds, and publishes. CHECK is a command line that is run in
# the directory of the programs, of both; it must succeed and print the same. Then all programs are compared by content, and work
# products reused are counted. At the end the last commit is built without seeds as well. The profile is what
# `headstart init --release-lane` writes, in a directory above all clones.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
repo=$(realpath "$1") rev=$2 headstart=$(realpath "$3") commits=$4 check=$5
shift 5
args=("${@:-build}" --profile release-lane)
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-lane-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export CARGO_TERM_COLOR=never HEADSTART_STORE=$scratch/store

checkout() { git -C "$1" -c advice.detachedHead=false checkout --quiet --detach "$2"; }
clone() { git clone --quiet --no-checkout "$repo" "$1" && checkout "$1" "$2"; }
# in_dir <directory> <log> <command...>: what fails is the finding that this looks for.
in_dir() {
    local dir=$1 log=$scratch/$2.log
    shift 2
    (cd "$dir" && "$@" >"$log" 2>&1) || { echo "FAILED in $dir: $*"; tail -40 "$log"; exit 1; }
}
programs() { (cd "$1/target/release-lane" && find . -maxdepth 1 -type f -executable | sort | xargs sha256sum); }
# Of a build through headstart: whether a seed was dropped, and what was reused.
reasons() { python3 "$here/reasons.py" "$1"; }

echo "bench/lane-stress.sh $(basename "$repo") $rev, $commits commits, cargo ${args[*]}, $(rustc -V)"
mapfile -t list < <(git -C "$repo" rev-list --first-parent --max-count=$((commits + 1)) --reverse "$rev" -- '*.rs')
clone "$scratch/warm" "${list[0]}"
(cd "$scratch/warm" && "$headstart" init --release-lane --yes >/dev/null)
mv "$scratch/warm/.cargo/config.toml" "$scratch/lane.toml"
git -C "$scratch/warm" checkout --quiet -- . && git -C "$scratch/warm" clean --quiet -fd
mkdir "$scratch/.cargo" && mv "$scratch/lane.toml" "$scratch/.cargo/config.toml"
publish() { in_dir "$scratch/warm" publish "$headstart" publish --required -- "${args[@]}"; }
publish
same=0 different=0
for ((i = 1; i <= commits; i++)); do
    commit=${list[$i]} reader=$scratch/reader-$i/deep/clone
    mkdir -p "$(dirname "$reader")"
    clone "$reader" "$commit"
    in_dir "$reader" start "$headstart" start --required -- "${args[@]}"
    ! grep -q "compiling it again without" "$scratch/start.log" || echo "CRASHED on a seed: $(grep "again without" "$scratch/start.log")"
    checkout "$scratch/warm" "$commit"
    publish
    for dir in "$reader" "$scratch/warm"; do in_dir "$dir/target/release-lane" "check-$(basename "$dir")" bash -c "$check"; done
    cmp "$scratch/check-clone.log" "$scratch/check-warm.log"
    if diff <(programs "$reader") <(programs "$scratch/warm") >"$scratch/diff"; then
        same=$((same + 1)) words=same
    else
        different=$((different + 1)) words="OTHER BYTES: $(tr '\n' ' ' <"$scratch/diff")"
        [[ -z ${KEEP:-} ]] || { mkdir -p "$KEEP/$i"; cp -r "$reader/target/release-lane" "$KEEP/$i/reader"; cp -r "$scratch/warm/target/release-lane" "$KEEP/$i/warm"; }
    fi
    echo "$(git -C "$repo" log -1 --format='%h' "$commit") $words; $(reasons "$reader")"
    rm -rf "$scratch/reader-$i"
done
mkdir -p "$scratch/nothing/deep"
clone "$scratch/nothing/deep/clone" "${list[$commits]}"
in_dir "$scratch/nothing/deep/clone" nothing env RUSTC_WRAPPER="$headstart" HEADSTART_SEED=0 cargo "${args[@]}"
diff <(programs "$scratch/nothing/deep/clone") <(programs "$scratch/warm") && words=same || words="other bytes"
echo "linked and ran: $commits of $commits; the warm directory's bytes: $same, others: $different; from nothing against warm after $commits commits: $words"
