//! The Lua scripts: each is one atomic move, bounded by a batch.
//!
//! A script is called by its hash and loaded again when Redis has forgotten it (restart, `SCRIPT FLUSH`, failover). What
//! each needs and answers stands in its head comment; what they share stands in `prelude.lua`.

use std::sync::LazyLock;

use redis::Script;

const PRELUDE: &str = include_str!("scripts/prelude.lua");

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {$(
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(&format!("{PRELUDE}\n{}", include_str!($file))));
    )*};
}

scripts! {
    PUSH = "scripts/push.lua";
    PUSH_INTENTS = "scripts/push_intents.lua";
    PROJECT = "scripts/project.lua";
    CLAIM = "scripts/claim.lua";
    RENEW = "scripts/renew.lua";
    FINISH = "scripts/finish.lua";
    DELAY = "scripts/delay.lua";
    HAND_BACK = "scripts/hand_back.lua";
    BURY = "scripts/bury.lua";
    PARK = "scripts/park.lua";
    UNPARK = "scripts/unpark.lua";
    PROMOTE = "scripts/promote.lua";
    SWEEP = "scripts/sweep.lua";
    PAUSE = "scripts/pause.lua";
    LIMIT = "scripts/limit.lua";
    WAKE = "scripts/wake.lua";
    DROP = "scripts/drop.lua";
    DROP_BURIED = "scripts/drop_buried.lua";
    KNOWS = "scripts/knows.lua";
    DEPTH = "scripts/depth.lua";
    LOCATE = "scripts/locate.lua";
    GAUGE = "scripts/gauge.lua";
}

macro_rules! apart {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {$(
        $(#[$doc])*
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!($file)));
    )*};
}

apart! {
    /// Works on the fleet's keys, without the prelude.
    BEAT = "scripts/beat.lua";
    /// These work on the keys of one provider.
    PERMIT = "scripts/permit.lua";
    TELL = "scripts/tell.lua";
    STAY = "scripts/stay.lua";
    LEAVE = "scripts/leave.lua";
    /// These work on the hint of what is sold out.
    LEFT = "scripts/left.lua";
    SOLD_OUT = "scripts/sold_out.lua";
    /// Works on the key of one who tries.
    VISIT = "scripts/visit.lua";
}
