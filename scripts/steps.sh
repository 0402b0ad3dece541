# How the scripts say what they do: sourced by the others from the root, runs nothing by itself.
#
# A step begins with a line `==> name: command` and ends with `==> name: ok, 12 s`, so that a log
# read from its end tells which step failed and what to type to have it again.

# cargo lives in the home directory, and CI shells often have not read the profile that says so.
if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
fi

# Where the other programs look for what cargo builds, whatever the user's own settings say.
export CARGO_TARGET_DIR=$PWD/target

# rebar3 colours whatever TERM allows, files included, and its last colour code would stand before
# our next line.
[ -t 1 ] || export TERM=dumb

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf '==> %s\n' "$*" >&2
    exit 1
}

# step NAME COMMAND...: runs the command, and leaves its time in `step_seconds`. No step reads the
# standard input: what is there is meant for the shell of `make run`.
step() {
    local name=$1 started=$SECONDS status=0
    shift
    say "$name: $*"
    "$@" </dev/null || status=$?
    step_seconds=$((SECONDS - started))
    if [ "$status" -eq 0 ]; then
        say "$name: ok, $step_seconds s"
    else
        say "$name: failed with status $status, $step_seconds s"
    fi
    return "$status"
}

# compile_benches DIRECTORY: what the benches are in Erlang, and what they share with the suites. The behaviours
# first.
compile_benches() {
    mkdir -p "$1"
    erlc +debug_info +warnings_as_errors -o "$1" benches/peers/{peer_of_bench,peers_sender,peers_streams}.erl &&
        erlc +debug_info +warnings_as_errors -pa "$1" -o "$1" benches/*.erl benches/peers/*.erl \
            test/lariat_{site,client,load}.erl
}
