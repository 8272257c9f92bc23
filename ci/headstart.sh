#!/usr/bin/env bash
# Builds in CI from the nearest published build, and publishes this one where that is allowed.
#
#   ci/headstart.sh build --workspace --all-targets --then test --workspace
#   ci/headstart.sh --sign
#
# The arguments are cargo's; `--then` begins another cargo command. Ends as cargo ends: whatever goes wrong with headstart is
# a line in the log, and a plain build. `--sign` signs what a build job published unsigned, in a job that builds nothing.
#
# Set these as variables of the CI system; all may be left out.
#
#   HEADSTART_SOURCE      where headstart is installed from if it is not on PATH: a directory or a git URL
#   HEADSTART_REV         which commit of that git URL
#   HEADSTART_ROOT        where it is installed, worth caching by HEADSTART_REV   [default: ~/.headstart]
#   HEADSTART_REMOTES     what is read, nearest first                             [default: those of headstart.toml]
#   HEADSTART_PUBLISH_TO  what is written, on the main branch only; a secret of protected branches, with the
#                         provider's own variables (AWS_ACCESS_KEY_ID, ...)
#   HEADSTART_PUBLISH     yes or no: whether this is the main branch              [default: GitLab is asked, else no]
#   HEADSTART_PUBLIC_KEY  who is believed: the .pub file's line that begins RW    [default: nobody]
#   HEADSTART_SIGN_KEY    signs; with HEADSTART_KEY_PASSWORD. Give it to the build job, or to the `--sign` job and
#                         HEADSTART_UNSIGNED=yes to the build job
#   HEADSTART_REQUIRED    yes: what cannot be published or signed is a failure    [default: it is said, no more]
set -euo pipefail

say() {
    # GitHub shows such a line with the job.
    printf '%sheadstart: %s\n' "${GITHUB_ACTIONS:+::warning::}" "$*" >&2
}

required() {
    [[ ${HEADSTART_REQUIRED-} == yes ]]
}

# The one place where headstart comes from: there is no release yet, so it is compiled, once for each commit of it.
# One that was kept from a machine with newer libraries does not run, and is replaced.
install() {
    if headstart --version >/dev/null 2>&1; then return; fi
    local root=${HEADSTART_ROOT:-${HOME-}/.headstart} source=${HEADSTART_SOURCE-}
    # Without a commit, what is at that place may be another; nobody sees that.
    local wanted=${HEADSTART_REV:-$source}
    PATH=$root/bin:$PATH
    if [[ -z $source || $(cat "$root/installed" 2>/dev/null) == "$wanted" ]]; then
        if headstart --version >/dev/null 2>&1; then return; fi
    fi
    [[ -n $source ]] || return
    local from
    if [[ -d $source ]]; then
        from=(--path "$(realpath "$source")")
    else
        from=(--git "$source" ${HEADSTART_REV:+--rev "$HEADSTART_REV"})
    fi
    # By the machine's compiler and for the machine, whatever this repository builds with and for; and nobody shows it the key.
    (
        mkdir -p "$root" && root=$(realpath "$root") && cd / || exit
        unset RUSTUP_TOOLCHAIN RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER CARGO_BUILD_RUSTC_WRAPPER
        unset HEADSTART_SIGN_KEY HEADSTART_KEY_PASSWORD
        cargo install --quiet --locked --force --root "$root" "${from[@]}" headstart && echo "$wanted" >"$root/installed"
    )
}

# Whether what is built here is what others will start from.
publishes() {
    [[ -n ${HEADSTART_PUBLISH_TO-} ]] || return
    case ${HEADSTART_PUBLISH-} in
        yes) return 0 ;;
        no) return 1 ;;
    esac
    # GitLab gives merge requests no CI_COMMIT_BRANCH.
    [[ -n ${CI_DEFAULT_BRANCH-} && ${CI_COMMIT_BRANCH-} == "$CI_DEFAULT_BRANCH" ]]
}

# Runs the cargo commands without headstart, which cargo's configuration may name; build scripts see no key.
plainly() {
    local command=() argument
    for argument in "$@" --then; do
        if [[ $argument == --then ]]; then
            if [[ ${command[0]-} == @(x|x.py|./x|./x.py) ]]; then
                env -u HEADSTART_SIGN_KEY -u HEADSTART_KEY_PASSWORD ./x.py "${command[@]:1}"
            elif ((${#command[@]})); then
                RUSTC_WRAPPER=${RUSTC_WRAPPER-} env -u HEADSTART_SIGN_KEY -u HEADSTART_KEY_PASSWORD cargo "${command[@]}"
            fi
            command=()
        else
            command+=("$argument")
        fi
    done
}

if (($# == 0)); then
    say "give cargo's arguments, or --sign"
    exit 1
fi

# HEADSTART_PUBLISH_TO as options.
remotes=()
for remote in ${HEADSTART_PUBLISH_TO-}; do remotes+=(--remote "$remote"); done

if ! install; then
    say "it could not be installed"
    if required; then exit 1; fi
    if [[ $1 != --sign ]]; then plainly "$@"; fi
    exit
fi
if [[ $1 == --sign ]]; then
    if headstart sign "${remotes[@]}"; then exit; fi
    say "this commit is not signed: others will not start from it"
    if required; then exit 1; fi
    exit
fi

# The machine is thrown away: sessions of units that are fresh would come for nobody.
export HEADSTART_LATER=${HEADSTART_LATER-off}
if [[ ${CARGO_INCREMENTAL-} == 0 ]]; then
    say "CARGO_INCREMENTAL=0 leaves out what edits could be compiled from; unset it"
fi
if [[ -n ${HEADSTART_PUBLIC_KEY-} ]]; then
    headstart trust add "$HEADSTART_PUBLIC_KEY" >/dev/null || say "nobody is believed"
fi
if [[ ${HEADSTART_PUBLISH-} == yes && -z ${HEADSTART_PUBLISH_TO-} ]]; then
    say "HEADSTART_PUBLISH_TO is empty: nothing is published"
    if required; then
        headstart start -- "$@"
        exit 1
    fi
fi
if ! publishes; then exec headstart start -- "$@"; fi

headstart start --place-only -- "$@" || say "the build begins from nothing"
options=()
if [[ ${HEADSTART_UNSIGNED-} == yes ]]; then options+=(--unsigned); fi
if required; then options+=(--required); fi
exec headstart publish "${remotes[@]}" "${options[@]}" -- "$@"
