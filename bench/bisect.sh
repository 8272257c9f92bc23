#!/usr/bin/env bash
# Times `headstart bisect` beside `git bisect run` with `cargo build` in a warm clone, taking turns; prints raw seconds.
#
#   bench/bisect.sh REPOSITORY GOOD BAD HEADSTART ROUNDS CHECK [CARGO ARGS...]
#
# Publishes every first-parent commit from GOOD to BAD, in one clone that walks along; that clone is then the warm one. CHECK is a
# shell command that succeeds in good commits, with the programs in PATH. Both must name the same commit. No compiler may run for
# `headstart bisect`: rustc and cargo are replaced by scripts that count, and only questions about versions and paths are let through.
# STORE=DIR and CLONE=DIR keep what was published, and the clone, for another run.
set -euo pipefail
repo=$(realpath "$1") good=$2 bad=$3 headstart=$(realpath "$4") rounds=$5 check=$6
shift 6
args=("${@:-build}")
scratch=$(mktemp -d "${SCRATCH:-${TMPDIR:-/tmp}}/headstart-bisect-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
store=${STORE:-$scratch/store} clone=${CLONE:-$scratch/clone}
export CARGO_TERM_COLOR=never GIT_ADVICE=0 HEADSTART_STORE=$store

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
checkout() { git -C "$clone" -c advice.detachedHead=false checkout --quiet --force --detach "$1"; }
git_id() { git -C "$repo" rev-parse "$1^{commit}"; }

good=$(git_id "$good") bad=$(git_id "$bad")
mapfile -t list < <(git -C "$repo" rev-list --first-parent --reverse "$good..$bad")
[[ -d $clone ]] || git clone --quiet --no-checkout "$repo" "$clone"
for commit in "$good" "${list[@]}"; do
    [[ ! -d $store/points/${commit:0:2}/$commit ]] || continue
    checkout "$commit"
    (cd "$clone" && "$headstart" publish --required --remote none -- "${args[@]}") >"$scratch/publish.log" 2>&1 || { tail -20 "$scratch/publish.log" >&2; exit 1; }
done
[[ -z ${PUBLISH_ONLY:-} ]] || exit 0

# What counts as compiling: a rustc that is not asked for its version or a path, and a cargo that is not asked about the workspace.
mkdir "$scratch/bin"
for tool in rustc cargo; do
    real=$(command -v "$tool")
    cat >"$scratch/bin/$tool" <<SHIM
#!/bin/sh
case "\$*" in
    -V | -vV | "--print sysroot" | metadata\ *) ;;
    *) echo "$tool \$*" >>"$scratch/compiled" ;;
esac
exec "$real" "\$@"
SHIM
    chmod +x "$scratch/bin/$tool"
done
: >"$scratch/compiled"

by_headstart() {
    checkout "$bad"
    (cd "$clone" && PATH=$scratch/bin:$PATH "$headstart" bisect --json --restart --remote none --scratch "$scratch/work" --good "$good" --bad "$bad" -- sh -c "$check") >"$scratch/answer.json" 2>"$scratch/bisect.log" || { cat "$scratch/bisect.log" >&2; exit 1; }
    python3 - "$scratch/answer.json" "$scratch/headstart.steps" "$scratch/headstart.found" <<'PY'
import json, sys
answer = json.load(open(sys.argv[1]))
with open(sys.argv[2], "a") as out:
    for one in answer["judged"]:
        print(f'{one["seconds"]:.3f}', file=out)
print(answer["first_bad"]["commit"], len(answer["judged"]), file=open(sys.argv[3], "w"))
PY
}
by_git() {
    cat >"$scratch/step" <<STEP
#!/bin/sh
t=\$(date +%s.%N)
cargo ${args[@]@Q} >"$scratch/cargo.log" 2>&1 || exit 125
PATH=\$PWD/target/debug:\$PATH sh -c ${check@Q}
code=\$?
awk -v a="\$t" -v b="\$(date +%s.%N)" 'BEGIN { printf "%.3f\n", b - a }' >>"$scratch/git.steps"
exit \$code
STEP
    chmod +x "$scratch/step"
    checkout "$bad"
    (cd "$clone" && cargo "${args[@]}" >"$scratch/cargo.log" 2>&1
        git bisect start --first-parent "$bad" "$good"
        git bisect run "$scratch/step"
        git rev-parse refs/bisect/bad >"$scratch/git.found"
        git bisect reset) >"$scratch/git.log" 2>&1 || { tail -20 "$scratch/git.log" >&2; exit 1; }
}

echo "bench/bisect.sh $(basename "$(dirname "$repo")") ${good:0:8} ${bad:0:8}, ${#list[@]} commits after the good one, all published, cargo ${args[*]}, $(rustc -V)"
echo "check: $check"
for ((i = 1; i <= rounds; i++)); do
    by_headstart
    by_git
    read -r found steps <"$scratch/headstart.found"
    [[ $found == "$(cat "$scratch/git.found")" ]] || { echo "headstart found $found, git $(cat "$scratch/git.found")" >&2; exit 1; }
done
echo "first bad: $(git -C "$repo" log -1 --format='%h %s' "$found"), by both; $steps commits judged by headstart, its ends among them"
echo "compiler and cargo runs for headstart: $(wc -l <"$scratch/compiled")"
echo "seconds per step, headstart: $(xargs <"$scratch/headstart.steps")"
echo "seconds per step, git and cargo: $(xargs <"$scratch/git.steps")"
echo "objects in the store: $(du -sm --apparent-size "$store/objects" | cut -f1) MB"
awk -v a="$(median <"$scratch/headstart.steps")" -v b="$(median <"$scratch/git.steps")" 'BEGIN { printf "medians: headstart %.2f s, git bisect run with cargo build %.2f s; ratio %.3f\n", a, b, a / b }'
