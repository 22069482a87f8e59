//! Points at which a proof can stop, kill or hang this process, from outside and at a moment of its choosing.
//!
//! Without the cargo feature `proof` every one of them is nothing: the product has none of it. With it, a process that
//! passes a point looks for a file in the folder `proof` below its working directory: `stop.POINT`, `kill.POINT`,
//! `hang.POINT`; or, where only one kind of job is meant, `kill.POINT.KIND`, and after a call that asked for one effect
//! `kill.called.EFFECT`. Whoever removes the file has taken it, so one file is for one process. Stopping is a SIGSTOP to
//! itself: every thread stands, renewals too, as in a machine that sleeps.

/// Where a process can be stopped, named for what has just happened. In the order in which an attempt passes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A slice is in hand; nothing of it was read.
    Claimed,
    /// Rows are locked and changed; the load's transaction is open.
    Loading,
    /// The load is committed; no call has begun.
    Loaded,
    /// The call is about to be sent.
    Calling,
    /// The provider has answered; nothing of it is written.
    Called,
    /// Receipts and domain are written; the settle's transaction is open.
    Settling,
    /// The settle is committed; the queue does not know.
    Settled,
    /// The outcome is about to be sent to the queue.
    Finishing,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 8] = [
        Self::Claimed,
        Self::Loading,
        Self::Loaded,
        Self::Calling,
        Self::Called,
        Self::Settling,
        Self::Settled,
        Self::Finishing,
    ];

    /// Its name in a file's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Loading => "loading",
            Self::Loaded => "loaded",
            Self::Calling => "calling",
            Self::Called => "called",
            Self::Settling => "settling",
            Self::Settled => "settled",
            Self::Finishing => "finishing",
        }
    }
}

/// A loop that can be made to hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turning {
    /// A lane's claim loop.
    Claim,
    /// A lane's renewals.
    Renewal,
    /// A lane's outcomes.
    Outcomes,
}

/// Stops or kills this process here, if a proof asks for it: at this point of any job, or of what is called one of these.
#[cfg(feature = "proof")]
pub fn pass(point: Point, called: &[Option<&str>]) {
    let own = std::process::id().to_string();
    let names: Vec<String> =
        called.iter().flatten().map(|called| format!("{}.{called}", point.name())).collect();
    for (what, signal) in [("stop", "STOP"), ("kill", "KILL")] {
        if taken(what, point.name()) || names.iter().any(|name| taken(what, name)) {
            // It stands still in here, until it is continued.
            let _ = std::process::Command::new("kill").args(["-s", signal, &own]).status();
        }
    }
}

/// Hangs here for ever, if a proof asks for it.
#[cfg(feature = "proof")]
pub async fn turn(turning: Turning) {
    let name = match turning {
        Turning::Claim => "claim",
        Turning::Renewal => "renewal",
        Turning::Outcomes => "outcomes",
    };
    if taken("hang", name) {
        std::future::pending::<()>().await;
    }
}

#[cfg(feature = "proof")]
fn taken(what: &str, name: &str) -> bool {
    std::fs::remove_file(format!("proof/{what}.{name}")).is_ok()
}

/// Nothing.
#[cfg(not(feature = "proof"))]
pub const fn pass(_: Point, _: &[Option<&str>]) {}

/// Nothing.
#[cfg(not(feature = "proof"))]
pub fn turn(_: Turning) -> std::future::Ready<()> {
    std::future::ready(())
}
