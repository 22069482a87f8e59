//! Which dead letters a command is about, as it is said on the command line.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use uuid::Uuid;

use crate::ids::{DeadLetterId, OrderId};
use crate::job::Lane;
use crate::roles::CommandError;
use crate::store::dead_letters::{Selection, State};
use crate::time::Clock;

/// What became of them.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Became {
    /// Neither replayed nor dropped.
    #[default]
    Open,
    /// Taken up again.
    Replayed,
    /// Given up for good.
    Dropped,
    /// All of them.
    Any,
}

/// Everything that is said has to hold.
#[derive(Debug, Args)]
pub(super) struct Choice {
    /// Of this lane.
    #[arg(long, value_name = "LANE")]
    lane: Option<String>,
    /// Of this kind.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// That died of this, as `dead list --groups` shows it.
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
    /// About this order (`ord_…`).
    #[arg(long, value_name = "ORDER")]
    order: Option<OrderId>,
    /// That died then or later: a time (RFC 3339), or how long ago (90s, 15m, 2h, 3d).
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<DateTime<Utc>>,
    /// That died before: a time, or how long ago.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<DateTime<Utc>>,
}

impl Choice {
    /// The selection, of those of which this became.
    pub(super) fn of(self, became: Became) -> Result<Selection, CommandError> {
        if let Some(unknown) = self.lane.as_deref().filter(|lane| Lane::named(lane).is_none()) {
            let known = Lane::ALL.map(Lane::name).join(", ");
            return Err(CommandError::Refused(format!(
                "there is no lane {unknown:?}; the lanes are {known}. Nothing was changed"
            )));
        }
        Ok(Selection {
            ids: None,
            lane: self.lane,
            kind: self.kind,
            fingerprint: self.fingerprint,
            order: self.order,
            since: self.since,
            until: self.until,
            state: match became {
                Became::Open => State::Open,
                Became::Replayed => State::Replayed,
                Became::Dropped => State::Dropped,
                Became::Any => State::Any,
            },
        })
    }
}

/// Open letters that something is to be done with: named one by one, or by what they have in common, or all on purpose.
#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// Their ids: `dead_…`, or the UUIDs that stand in the database.
    #[arg(value_parser = letter_id, value_name = "ID")]
    ids: Vec<DeadLetterId>,
    #[command(flatten)]
    choice: Choice,
    /// All that are open.
    #[arg(long)]
    all: bool,
}

impl Chosen {
    /// The selection. Nothing said is nothing chosen: a slip of the hand must not replay everything.
    pub(super) fn selection(self) -> Result<Selection, CommandError> {
        let Self { ids, choice, all } = self;
        let mut of = choice.of(Became::Open)?;
        let says = of.lane.is_some()
            || of.kind.is_some()
            || of.fingerprint.is_some()
            || of.order.is_some()
            || of.since.is_some()
            || of.until.is_some();
        if ids.is_empty() && !says && !all {
            return Err(CommandError::Refused(
                "which dead letters? Name their ids, or --lane, --kind, --fingerprint, --order, --since, --until, or say --all. \
                 `orderfleet dead list --groups` shows what there is. Nothing was changed"
                    .to_owned(),
            ));
        }
        of.ids = (!ids.is_empty()).then_some(ids);
        Ok(of)
    }
}

pub(super) fn letter_id(text: &str) -> Result<DeadLetterId, String> {
    let in_database = text.parse::<Uuid>().ok().map(DeadLetterId::from);
    in_database.map_or_else(|| text.parse().map_err(|error| format!("{error}")), Ok)
}

/// A moment, or how long ago it was.
pub(in crate::cli) fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    let refused =
        || format!("{text:?} is neither a time (2026-11-21T02:14:00Z) nor a while ago (90s, 15m, 2h, 3d)");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(refused)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(refused()),
    };
    let number: u32 = number.parse().map_err(|_| refused())?;
    let ago = Duration::from_secs(u64::from(number).saturating_mul(seconds).min(LONGEST_AGO));
    Ok(Clock::real().now() - ago)
}

/// A century: the calendar ends somewhere.
const LONGEST_AGO: u64 = 100 * 365 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(ids: &[DeadLetterId], all: bool) -> Chosen {
        let choice =
            Choice { lane: None, kind: None, fingerprint: None, order: None, since: None, until: None };
        Chosen { ids: ids.to_vec(), choice, all }
    }

    #[test]
    fn nothing_said_is_nothing_chosen() {
        assert!(chosen(&[], false).selection().is_err());
        assert!(chosen(&[], true).selection().is_ok());
        let letter = DeadLetterId::new();
        assert_eq!(chosen(&[letter], false).selection().unwrap().ids, Some(vec![letter]));
    }

    #[test]
    fn a_moment_is_a_time_or_a_while_ago() {
        assert_eq!(moment("2026-11-21T02:14:00Z").unwrap().to_rfc3339(), "2026-11-21T02:14:00+00:00");
        let (before, two_hours_ago, after) =
            (Clock::real().now(), moment("2h").unwrap(), Clock::real().now());
        assert!((before..=after).contains(&(two_hours_ago + Duration::from_hours(2))));
        for wrong in ["", "2", "h", "2w", "-3h", "soon", "2\u{fc}"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
