#!/usr/bin/env bash
# Measures release lanes of one real program: build from nothing, rebuild after an edit, size, and run time, against plain release.
#
#   bench/lane.sh PROGRAM CLONE OUT [LANE...]
#
# PROGRAM is one of the table below; CLONE a work tree of it, whose one file is edited and put back; OUT keeps a target directory and the
# programs made. Dependencies are the same for all lanes but those that say otherwise, and are built first. Then the workspace's own crates are
# built from nothing in each lane, and EDITS times (default 3) after an edit, lanes taking turns: a call of `black_box` with another number at the
# head of one function of a member. Then the programs run ROUNDS rounds (default 9), lanes taking turns; what counts is user time
# (bench/lane.py). `plain` is cargo's default release profile, `own` the workspace's. RUNS_ONLY=1 builds nothing.
set -euo pipefail
program=$1 clone=$(realpath "$2") here=$(realpath "$(dirname "$0")")
mkdir -p "$3"
out=$(realpath "$3")
shift 3
lanes=("${@:-plain}")
input=$out/input target=$out/target-$program
mkdir -p "$input" "$out/bin"
export CARGO_TERM_COLOR=never

# The same release profile for all: what cargo takes where nobody says anything.
base=(opt-level=3 debug=0 'strip="none"' lto=false codegen-units=16 incremental=false 'panic="unwind"' overflow-checks=false
    'package."*".codegen-units=16')

# lane <name>: sets `profile`, settings of profile.release, and `flags`, arguments of rustc's LLVM.
lane() {
    profile=("${base[@]}") flags=
    case $1 in
    own) profile=() ;;
    plain) ;;
    plain-thin) profile+=('lto="thin"') ;;
    plain-1) profile+=(codegen-units=1) ;;
    incr-*-thin) profile+=(incremental=true codegen-units="$(cut -d- -f2 <<<"$1")" 'lto="thin"') ;;
    incr-*-off) profile+=(incremental=true codegen-units="$(cut -d- -f2 <<<"$1")" 'lto="off"') ;;
    incr-*-not-*) profile+=(incremental=true codegen-units="$(cut -d- -f2 <<<"$1")" "package.${1##*-not-}.incremental=false") ;;
    incr-*-deps1) profile+=(incremental=true codegen-units="$(cut -d- -f2 <<<"$1")" 'package."*".codegen-units=1') ;;
    incr-*-import*) profile+=(incremental=true codegen-units="$(cut -d- -f2 <<<"$1")") flags=-import-instr-limit=${1##*import} ;;
    incr-*-inline*) profile+=(incremental=true codegen-units="$(cut -d- -f2 <<<"$1")") flags=-inline-threshold=${1##*inline} ;;
    incr-*) profile+=(incremental=true codegen-units="${1#incr-}") ;;
    *) echo "no lane $1" >&2; exit 1 ;;
    esac
}

# repeated <file> <bytes> <files...>: the files one after another, until there are so many bytes.
repeated() {
    local to=$1 bytes=$2
    shift 2
    [[ -s $to ]] || while cat "$@"; do :; done 2>/dev/null | head -c "$bytes" >"$to" || true
}

# What is built, where it is edited, and the runs, one a line: name, file for standard input, arguments.
case $program in
jaq)
    build=(-p jaq) binary=release edit=jaq-core/src/filter.rs at='pub fn run<.*\{$'
    echo 1 >"$input/one"
    runs() {
        local name n
        while read -r name n; do
            echo "$n" >"$input/jaq-$name"
            { cat "$clone/examples/benches/$name.jq"; echo "| length"; } >"$input/jaq-$name.jq"
            printf '%s\t%s\t@jaq -f %s\n' "$name" "$input/jaq-$name" "$input/jaq-$name.jq"
        done <<<'reduce 500000
sort 400000
group-by 400000
kv-update 100000
try-catch 500000
tree-flatten 17
cumsum 500000
str-slice 8192
to-fromjson 65536
ack 6'
        printf 'bf-fib\t/dev/null\t@jaq -sRrf %s %s\n' "$clone/examples/bf.jq" "$clone/examples/fib.bf"
    }
    ;;
wasmi)
    build=(-p wasmi_cli --no-default-features --features run,wat,stable,auto-dispatch,validate) binary=release edit=crates/wasmi/src/engine/translator/func/mod.rs at='fn finish_translate_locals.*\{$'
    wat=$clone/crates/wasmi/benches/wat
    runs() {
        printf 'fibonacci\t/dev/null\t@wasmi run --invoke fibonacci_rec %s 30\n' "$wat/fibonacci.wat"
        printf 'counter\t/dev/null\t@wasmi run --invoke count-via-locals %s 40000000\n' "$wat/counter-local.wat"
        printf 'globals\t/dev/null\t@wasmi run --invoke count-via-globals %s 20000000\n' "$wat/counter-global.wat"
        printf 'divrem\t/dev/null\t@wasmi run --invoke test %s 10000000\n' "$wat/divrem.wat"
        printf 'indirect\t/dev/null\t@wasmi run --invoke run/8 %s 5000000\n' "$wat/indirect_calls.wat"
        printf 'bulk\t/dev/null\t@wasmi run --invoke run %s 500000\n' "$wat/bulk-ops.wat"
        printf 'flat-calls\t/dev/null\t@wasmi run --invoke run/16 %s 3000000\n' "$wat/flat_calls.wat"
    }
    ;;
pulldown-cmark)
    build=(-p pulldown-cmark --bin pulldown-cmark) binary=release edit=pulldown-cmark/src/firstpass.rs at='fn parse_paragraph.*\{$'
    repeated "$input/spec.md" 40000000 "$clone"/pulldown-cmark/third_party/CommonMark/spec.txt
    repeated "$input/more.md" 40000000 "$clone"/pulldown-cmark/specs/*.txt
    repeated "$input/prose.md" 40000000 "$clone"/guide/src/*.md "$clone"/guide/src/*/*.md "$clone"/README.md
    runs() {
        printf 'spec\t%s\t@pulldown-cmark \n' "$input/spec.md"
        printf 'spec-all\t%s\t@pulldown-cmark -T -F -S -P -L\n' "$input/spec.md"
        printf 'more-all\t%s\t@pulldown-cmark -T -F -S -P -L\n' "$input/more.md"
        printf 'prose\t%s\t@pulldown-cmark -T\n' "$input/prose.md"
    }
    ;;
zlib-rs)
    build=(-p test-libz-rs-sys --example blogpost-compress --example blogpost-uncompress) binary=release/examples edit=zlib-rs/src/deflate.rs at='fn flush_bits\(&mut self\) \{$'
    repeated "$input/sources" 60000000 "$clone"/zlib-rs/src/*.rs "$clone"/zlib-rs/src/*/*.rs "$clone"/libz-rs-sys/src/*.rs "$clone"/libz-rs-sys-cdylib/include/*
    python3 - "$input" <<'PYTHON'
import random, sys, zlib
# Text with the statistics of none in particular: a few thousand words, drawn unevenly.
draw = random.Random(7)
words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 9))) for _ in range(4000)]
text = " ".join(words[int(draw.paretovariate(0.7)) % 4000] for _ in range(3_000_000)).encode()
open(sys.argv[1] + "/words", "wb").write(text)
open(sys.argv[1] + "/many", "wb").write(text * 3)
open(sys.argv[1] + "/many.z", "wb").write(zlib.compress(text * 3, 6))
PYTHON
    runs() {
        for level in 1 3; do printf 'compress-%s\t/dev/null\t@blogpost-compress %s rs %s\n' "$level" "$level" "$input/many"; done
        for level in 6 9; do printf 'compress-%s\t/dev/null\t@blogpost-compress %s rs %s\n' "$level" "$level" "$input/words"; done
        printf 'uncompress\t/dev/null\t@blogpost-uncompress rs %s\n' "$input/many.z"
    }
    ;;
ripgrep)
    build=(--bin rg) binary=release edit=crates/searcher/src/searcher/core.rs at='fn match_by_line_slow.*\{$'
    repeated "$input/code" 40000000 "$clone"/crates/*/src/*.rs "$clone"/crates/*/src/*/*.rs
    runs() {
        printf 'json\t/dev/null\t@rg --json -j1 fn %s\n' "$input/code"
        printf 'replace\t/dev/null\t@rg -j1 -n --column -o -r $2-$1 (\\w+)::(\\w+) %s\n' "$input/code"
        printf 'color\t/dev/null\t@rg -j1 -n --color=always -C1 self %s\n' "$input/code"
        printf 'invert\t/dev/null\t@rg -j1 -n -v self %s\n' "$input/code"
        printf 'multiline\t/dev/null\t@rg -j1 -n -U ^fn[^{]*\\{\\n %s\n' "$input/code"
    }
    ;;
resvg)
    build=(-p resvg --bin resvg) binary=release edit=crates/resvg/src/filter/box_blur.rs at='pub fn apply\(.*\{$'
    runs() {
        local name zoom file
        while read -r name zoom file; do
            printf '%s\t/dev/null\t@resvg --zoom %s %s -c\n' "$name" "$zoom" "$clone/crates/resvg/tests/tests/$file.svg"
        done <<<'blur 8 filters/feGaussianBlur/small-stdDeviation
turbulence 5 filters/feTurbulence/numOctaves=5
lighting 8 filters/feDiffuseLighting/complex-transform
convolve 5 filters/feConvolveMatrix/order=4
morphology 2 filters/feMorphology/simple-case
gradient 12 paint-servers/radialGradient/attributes-via-xlink-href-complex-order
mask 12 masking/mask/simple-case
stroke 16 painting/stroke-linejoin/bevel
blend 16 painting/mix-blend-mode/color-dodge'
    }
    ;;
*) echo "no program $program" >&2; exit 1 ;;
esac

cd "$clone"
trap 'git -C "$clone" checkout --quiet -- "$edit"' EXIT
git checkout --quiet -- "$edit"

# built <lane> <what>: builds, and prints seconds on the clock and on all cores.
built() {
    local TIMEFORMAT='%R %U %S' arguments=() setting
    lane "$1"
    for setting in ${profile[@]+"${profile[@]}"}; do arguments+=(--config "profile.release.$setting"); done
    [[ -z $flags ]] || export RUSTFLAGS="-Cllvm-args=$flags"
    { time cargo build --release --locked "${build[@]}" "${arguments[@]}" --target-dir "$target" >"$out/cargo.log" 2>&1; } 2>"$out/time" ||
        { tail -20 "$out/cargo.log" >&2; exit 1; }
    unset RUSTFLAGS
    awk -v program="$program" -v lane="$1" -v what="$2" '{ printf "build %s %s %s %.2f %.2f\n", program, lane, what, $1, $2 + $3 }' "$out/time" | tee -a "$out/$program.builds"
}

# keep <name>: the programs as they are now.
keep() {
    rm -rf "$out/bin/$program-$1"
    mkdir "$out/bin/$program-$1"
    find "$target/$binary" -maxdepth 1 -type f -executable ! -name '*.so' -exec cp -t "$out/bin/$program-$1" {} +
}

echo "bench/lane.sh $program $(git rev-parse --short HEAD), $(rustc -V)"
if [[ -z ${RUNS_ONLY:-} ]]; then
    : >"$out/$program.builds"
    built "${lanes[0]}" whole
    mapfile -t members < <(cargo metadata --no-deps --format-version 1 | python3 -c 'import json, sys; [print("-p" + it["name"]) for it in json.load(sys.stdin)["packages"]]')
    cargo clean --quiet --release "${members[@]}" --target-dir "$target"
    for name in "${lanes[@]}"; do
        built "$name" members
        keep "$name"
    done
    for ((i = 1; i <= ${EDITS:-3}; i++)); do
        git checkout --quiet -- "$edit"
        # In the same line: what is measured is a change of the body, not of where everything below it stands.
        sed -i -E "0,/$at/s/($at)/\1 core::hint::black_box(${i}000u32);/" "$edit"
        ! git diff --quiet -- "$edit" || { echo "no place to edit in $edit" >&2; exit 1; }
        for name in "${lanes[@]}"; do
            built "$name" edit
            ((i < ${EDITS:-3})) || keep "$name+edit"
        done
    done
    git checkout --quiet -- "$edit"
    edited=("${lanes[@]:1}")
    lanes+=("${edited[@]/%/+edit}")
fi
runs >"$out/$program.runs"
python3 "$here/lane.py" "$program" "$out" "${ROUNDS:-9}" "${lanes[@]}"
