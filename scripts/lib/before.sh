# shellcheck shell=bash
# The binary of an earlier revision, for the proof that both work side by side. Sourced.

# Builds it below target/, and says in ORDERFLEET_BEFORE where it is. By default the last revision whose schema was another.
ensure_before() {
    local revision source=target/before/source
    revision="$(git rev-parse --verify "${BEFORE:-$(git log -1 --format=%H -- 'migrations/*.sql')~1}")"
    export ORDERFLEET_BEFORE="$PWD/target/before/$revision/release/orderfleet"
    [ -x "$ORDERFLEET_BEFORE" ] && return
    say "building the fleet as it was at ${revision:0:9}"
    rm -rf "$source"
    mkdir -p "$source"
    git archive "$revision" | tar -x -C "$source"
    (cd "$source" && cargo build --release --locked --bin orderfleet --target-dir "../$revision")
}
