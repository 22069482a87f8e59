# shellcheck shell=bash
# What a fresh Debian or Ubuntu machine lacks, installed once: sourced by scripts/up and scripts/test at the root of the
# clone. Everything that is there already is used as it is. A package may start a service of its own (Debian's
# postgresql does); it is neither used nor touched: private servers have their own data and ports.

# What is installed where there is no Rust, or one older than Cargo.toml allows. Not simply the newest: its new lints
# would fail a gate that nobody touched. A newer one that is there is used.
readonly RUST=1.95.0
# Tools of the gate, pinned here and nowhere else.
readonly CARGO_DENY=0.20.2 CARGO_MACHETE=0.9.2 SQLX_CLI=0.9.0

# Colours are for terminals.
print() { if [ -t 2 ]; then printf '\033[%sm%s\033[0m\n' "$1" "$2" >&2; else printf '%s\n' "$2" >&2; fi; }
say() { print 1 "== $*"; }
loud() { print '1;31' "!! $*"; }
die() {
    loud "$@"
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# initdb is not on Debian's PATH.
has_postgres() { has initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || compgen -G '/usr/pgsql-*/bin/initdb' >/dev/null; }
has_redis() { has redis-server || has valkey-server; }

missing_packages() {
    has cc || echo build-essential
    has curl || echo curl
    has git || echo git
    has pkg-config || echo pkg-config
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/ssl/cert.pem ] || echo ca-certificates
    has_postgres || echo postgresql
    has_redis || echo redis-server
    # Debian has a python3 whose venv cannot make a pip.
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3 python3-venv
}

# Installs these packages of Debian's; false, with the reason, where that can not be.
try_packages() {
    local sudo=()
    has apt-get || { loud "missing: $* (Debian's names). There is no apt-get here: install them by your own means."; return 1; }
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || { loud "missing packages, and neither root nor sudo to install them. As root: apt-get install $*"; return 1; }
        sudo=(sudo)
        # Without a terminal nobody can type a password.
        [ -t 0 ] || sudo=(sudo -n)
    fi
    say "installing $*"
    # Another apt may be at work, as on a machine that has just started: wait for it.
    local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -o APT::Get::Assume-Yes=true)
    "${apt[@]}" update --quiet=2 || loud "apt-get update failed: going on with the lists that are there"
    "${apt[@]}" install --quiet=2 --no-install-recommends "$@" ||
        { loud "could not install the packages. As root: apt-get install $*"; return 1; }
}

ensure_packages() {
    local missing
    read -r -a missing <<<"$(missing_packages | tr '\n' ' ')"
    [ ${#missing[@]} -gt 0 ] || return 0
    try_packages "${missing[@]}" || exit 1
    read -r -a missing <<<"$(missing_packages | tr '\n' ' ')"
    [ ${#missing[@]} -eq 0 ] || die "installed, and still not found: ${missing[*]}"
}

# The oldest compiler that Cargo.toml allows.
wanted_rust() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }
found_rust() { rustc --version 2>/dev/null | awk '{ print $2 }'; }
rust_is_good() {
    has cargo && [ -n "$(found_rust)" ] &&
        [ "$(printf '%s\n' "$(wanted_rust)" "$(found_rust)" | sort -V | head -n 1)" = "$(wanted_rust)" ]
}

ensure_rust() {
    # A distribution's older rustc may stand first on the PATH.
    export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    if ! rust_is_good; then
        if has rustup; then
            say "no rustc of $(wanted_rust) or newer ($(found_rust || true) is there): rustup installs $RUST"
            rustup toolchain install "$RUST" --profile minimal --component rustfmt --component clippy --no-self-update
        else
            # What https://sh.rustup.rs redirects to; the toolchain comes from the same host.
            say "no rustc of $(wanted_rust) or newer: installing Rust $RUST by rustup into ${CARGO_HOME:-$HOME/.cargo}"
            curl --proto '=https' --tlsv1.2 --silent --show-error --fail --retry 3 https://static.rust-lang.org/rustup/rustup-init.sh |
                sh -s -- -y --quiet --no-modify-path --default-toolchain "$RUST" --profile minimal --component rustfmt --component clippy ||
                die "could not install Rust: see https://rustup.rs, then run this again"
        fi
        rust_is_good || export RUSTUP_TOOLCHAIN="$RUST"
        rust_is_good || die "rustc is $(found_rust || true), and $(wanted_rust) or newer is needed: rustup toolchain install $RUST"
    fi
    say "rustc $(found_rust) from $(command -v rustc)"
}

ensure_rust_components() {
    has rustfmt && cargo clippy --version >/dev/null 2>&1 && return
    has rustup || die "rustfmt and clippy are missing: install them beside $(command -v cargo)"
    rustup component add rustfmt clippy
}

# ensure_tool CRATE VERSION [FLAG…]: into .tools/, where the list of what is installed makes a second run instant.
ensure_tool() {
    local crate=$1 version=$2
    shift 2
    grep --quiet --fixed-strings "\"$crate $version (" .tools/.crates.toml 2>/dev/null && return
    say "installing $crate $version into .tools (once; takes minutes)"
    env -u CARGO_TARGET_DIR cargo install --locked --quiet --root .tools --version "$version" "$@" "$crate"
}

ensure_tools() {
    ensure_tool cargo-machete "$CARGO_MACHETE"
    ensure_tool sqlx-cli "$SQLX_CLI" --no-default-features --features postgres,rustls
    ensure_tool cargo-deny "$CARGO_DENY"
}

# The counterparties that tests speak to come from PyPI. False where it cannot be reached.
ensure_venv() { ensure_python tests/counterparty .tools/venv; }

# Whoever reads what is deployed: Dockerfile, YAML, Kubernetes' schemas.
ensure_linters() { ensure_python tests/deploy .tools/lint; }

# ensure_python FROM TO: what FROM's requirements pin, into TO.
ensure_python() {
    local wanted=$1/requirements.txt to=$2
    cmp --silent "$wanted" "$to/installed.txt" && return
    say "installing $wanted into $to"
    rm -rf "$to"
    python3 -m venv "$to" &&
        "$to/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 20 --requirement "$wanted" &&
        cp "$wanted" "$to/installed.txt"
}

# What drives Chromium in the tests of the console, pinned by its lock; Chromium and Node are the distribution's. False where
# npm's registry cannot be reached, or the distribution has neither.
ensure_browser() {
    has chromium || has chromium-browser || has google-chrome || try_packages chromium || return
    ensure_npm tests/browser .tools/browser
}

# The Stripe that remembers, which refunds are tried against, and what starts it.
ensure_stripe() {
    ensure_npm tests/counterparty/stripe .tools/stripe && cp tests/counterparty/stripe/server.js .tools/stripe
}

# ensure_npm FROM TO: what FROM's lock names, into TO.
ensure_npm() {
    local from=$1 to=$2
    has npm || try_packages nodejs npm || return
    cmp --silent "$from/package-lock.json" "$to/installed.json" && return
    say "installing $from/package-lock.json into $to"
    rm -rf "$to"
    mkdir -p "$to"
    cp "$from/package.json" "$from/package-lock.json" "$to"
    npm ci --prefix "$to" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 &&
        cp "$from/package-lock.json" "$to/installed.json"
}

# Postfix's smtp-sink: the tool and its libraries out of Debian's package, unpacked and not installed, so that no mail server
# is set up or started. False where it cannot be had.
ensure_smtp_sink() {
    ensure_unpacked postfix .tools/smtp-sink ./usr/sbin/smtp-sink './usr/lib/postfix/lib*.so' &&
        ! LD_LIBRARY_PATH=.tools/smtp-sink/usr/lib/postfix ldd .tools/smtp-sink/usr/sbin/smtp-sink | grep 'not found'
}

# Prometheus' own reader of its rules, as the distribution has it.
ensure_promtool() { ensure_unpacked prometheus .tools/prometheus ./usr/bin/promtool; }

# ensure_unpacked PACKAGE TO FILE…: these files of a Debian package, below TO. False where it cannot be had.
ensure_unpacked() {
    local package=$1 to=$2
    shift 2
    [ ! -x "$to/$1" ] || return 0
    has apt-get && has dpkg-deb || return
    say "unpacking $1 of Debian's $package into $to"
    rm -rf "$to"
    mkdir -p "$to"
    (
        cd "$to" || exit
        # Without lists nothing can be found; only root may fetch them.
        apt-get download --quiet=2 "$package" 2>/dev/null ||
            { apt-get update --quiet=2 && apt-get download --quiet=2 "$package"; } || exit
        dpkg-deb --fsys-tarfile "$package"_*.deb | tar --extract --wildcards "$@" || exit
        rm "$package"_*.deb
    ) || { rm -rf "$to" && return 1; }
}

# Peers of the benches, each pinned by its own lock in tests/bench/peers/ and installed once. What cannot be had is said
# here and again in the report; the bench runs without it.
# ensure_npm_peer NAME PROGRAM
ensure_npm_peer() {
    local from=tests/bench/peers/$1 to=.tools/peers/$1
    cmp --silent "$from/package-lock.json" "$to/installed.json" && cmp --silent "$from/$2" "$to/$2" && return
    rm -rf "$to"
    has npm || {
        loud "$1: npm is not here (Debian: apt-get install npm)"
        return 0
    }
    say "installing $1 into .tools/peers"
    mkdir -p "$to"
    cp "$from"/package.json "$from"/package-lock.json "$to"
    # Not `npm ci`: that wants the lock to know the native parts of every platform, which some registries do not serve.
    npm install --prefix "$to" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error >&2 || {
        loud "$1: npm could not install it"
        return 0
    }
    cp "$from/$2" "$to"
    cp "$from/package-lock.json" "$to/installed.json"
}

ensure_bullmq_rust() {
    local from=tests/bench/peers/bullmq-rust to=.tools/peers/bullmq-rust
    mkdir -p "$to"
    say "building BullMQ's Rust crate into .tools/peers (once; takes minutes)"
    rm -f "$to/bench-bullmq-rust"
    if CARGO_TARGET_DIR=.tools/peers/target cargo build --release --locked --manifest-path "$from/Cargo.toml" >&2; then
        cp .tools/peers/target/release/bench-bullmq-rust "$to"
    else
        loud 'bullmq-rust: it could not be built'
    fi
}
