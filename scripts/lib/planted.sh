# shellcheck shell=bash
# Plants each bug of tests/planted in a copy of the tree, builds it, and runs what must turn red. Sourced by scripts/prove at
# the root of the clone, after scripts/lib/setup.sh. Debug builds: a bug is a bug at any speed.

# Rows of the table in tests/planted/README.md: patch|what must turn red.
planted_rows() { sed -n 's/^| \([a-z-]*\) | \(\(prove\|unit\) [a-z:-]*\) | .*/\1|\2/p' tests/planted/README.md; }

# planted_one TREE PATCH KIND WHAT: prints red, green, hung (it was ended after ten minutes, which a proof's own waits do not
# take) or broken (it does not apply or build). Only red is caught.
planted_one() {
    local tree=$1 patch=$PWD/tests/planted/$2.patch kind=$3 what=$4 log=$PWD/.orderfleet/planted/$2.log
    git -C "$tree" checkout -q .
    if ! git -C "$tree" apply "$patch" 2>"$log"; then echo broken && return; fi
    if ! (
        cd "$tree" || exit 2
        case $kind in
        prove) cargo build --quiet --locked --features proof --bin orderfleet --test prove ;;
        unit) cargo test --quiet --locked --lib --no-run ;;
        esac
    ) >>"$log" 2>&1; then echo broken && return; fi
    local status=0 seed
    # Some bugs show only where two faults meet, which not every short run brings about: a full one has forty times as many.
    for seed in 1 11 21; do
        (
            cd "$tree" || exit 2
            case $kind in
            prove) timeout 600 cargo test --quiet --locked --features proof --test prove -- "$what" --seed "$seed" ;;
            unit) timeout 600 cargo test --quiet --locked --lib "$what" ;;
            esac
        ) </dev/null >>"$log" 2>&1 || status=$?
        if [ "$status" != 0 ] || [ "$kind" = unit ]; then break; fi
    done
    case $status in
    0) echo green ;;
    124) echo hung ;;
    *) echo red ;;
    esac
}

# planted [NAME]…: all of them, or these. The last line is JSON; the status is 0 if every bug turned its proof red.
planted() {
    local only=" $* " tree=$PWD/.orderfleet/planted/tree row name proof colour all=0 red=0 since=$SECONDS figures=
    mkdir -p .orderfleet/planted
    git worktree remove --force "$tree" 2>/dev/null || rm -rf "$tree"
    git worktree prune
    git worktree add --quiet --detach "$tree" HEAD
    # Dependencies need not be built once more.
    mkdir -p "$tree/target"
    [ ! -d target/debug ] || cp -a target/debug "$tree/target/debug"
    while read -r row; do
        name=${row%%|*} proof=${row#*|}
        [ $# = 0 ] || [[ $only == *" $name "* ]] || continue
        colour=$(planted_one "$tree" "$name" "${proof%% *}" "${proof#* }")
        all=$((all + 1))
        [ "$colour" != red ] || red=$((red + 1))
        say "$(printf '%-36s %-22s %s' "$name" "$proof" "$colour")"
        figures="$figures\"$name\":\"$colour\","
    done < <(planted_rows)
    git worktree remove --force "$tree"
    [ "$all" -gt 0 ] || die "there is no planted bug called$only"
    printf '{"name":"planted","ok":%s,"figures":{"planted_bugs":%d,"red_bugs":%d},"bars":{"red_bugs":{"op":">=","value":%d,"met":%s}},"colours":{%s},"seed":1,"seconds":%d,"machine":{"cores":%d}}\n' \
        "$([ "$red" = "$all" ] && echo true || echo false)" "$all" "$red" "$all" \
        "$([ "$red" = "$all" ] && echo true || echo false)" "${figures%,}" "$((SECONDS - since))" "$(nproc)"
    [ "$red" = "$all" ]
}
