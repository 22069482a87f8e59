//! Dead letters, as `orderfleet dead` lists, shows, replays, mends and drops them.
//!
//! A replay or a drop that was begun is ended, whether or not its client waits for the answer. Payloads are masked unless
//! somebody who may asks for all of them, and that is written down.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use super::answer::{self, fresh};
use super::guard::Operator;
use super::problem::{Code, Problem};
use crate::auth::Action;
use crate::ids::{DeadLetterId, OrderId};
use crate::job::Failure;
use crate::ops::controls;
use crate::ops::dead_letters::{self as letters, Rehearsed, Replayed, Shown};
use crate::store::dead_letters::{Selection, State as Became};

/// Letters of a page where nobody says how many: a screen of them.
pub(super) const USUAL_PAGE: i64 = 50;
/// Letters that one request tries, at most: each is a transaction of its own, and a client waits for all of them.
pub(super) const REHEARSED: usize = 200;
/// Ids that one request names, at most: what is more has something in common.
const NAMED: usize = 1_000;

/// What letters have in common: everything that is said has to hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filter {
    pub(super) lane: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) fingerprint: Option<String>,
    pub(super) order: Option<OrderId>,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) until: Option<DateTime<Utc>>,
}

impl Filter {
    fn says_nothing(&self) -> bool {
        let Self { lane, kind, fingerprint, order, since, until } = self;
        lane.is_none()
            && kind.is_none()
            && fingerprint.is_none()
            && order.is_none()
            && since.is_none()
            && until.is_none()
    }

    /// The selection, of those of which this became.
    pub(super) fn of(self, state: Became) -> Result<Selection, Problem> {
        let Self { lane, kind, fingerprint, order, since, until } = self;
        if let Some(name) = &lane {
            controls::lane(name)?;
        }
        Ok(Selection { ids: None, lane, kind, fingerprint, order, since, until, state })
    }
}

/// A list's query.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Listed {
    lane: Option<String>,
    kind: Option<String>,
    fingerprint: Option<String>,
    order: Option<OrderId>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    state: Option<String>,
    limit: Option<String>,
    after: Option<DeadLetterId>,
}

/// What a list shows: which letters, how many, after which.
pub(super) struct Page {
    pub(super) of: Selection,
    pub(super) limit: i64,
    pub(super) after: Option<DeadLetterId>,
}

impl Listed {
    pub(super) fn page(self) -> Result<Page, Problem> {
        let Self { lane, kind, fingerprint, order, since, until, state, limit, after } = self;
        let refused = |detail: String| Problem::new(Code::InvalidQuery, detail);
        let state = match state.as_deref() {
            None | Some("open") => Became::Open,
            Some("replayed") => Became::Replayed,
            Some("dropped") => Became::Dropped,
            Some("any") => Became::Any,
            Some(_) => return Err(refused("state must be open, replayed, dropped or any".to_owned())),
        };
        let most = letters::LONGEST_PAGE;
        let limit = limit.map_or(Ok(USUAL_PAGE), |text| {
            let number = text.parse().ok().filter(|number| (1..=most).contains(number));
            number.ok_or_else(|| refused(format!("limit must be 1 to {most}")))
        })?;
        let filter = Filter { lane, kind, fingerprint, order, since, until };
        Ok(Page { of: filter.of(state)?, limit, after })
    }
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    _operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Page { of, limit, after } = answer::query::<Listed>(query.as_deref())?.page()?;
    let heads = desk.store.within(desk.store.dead_letters(&of, after, limit)).await?;
    let is_full = i64::try_from(heads.len()) == Ok(limit);
    let next = heads.last().filter(|_| is_full).map(|head| head.id);
    Ok(fresh(json!({ "letters": heads, "next": next })))
}

pub(super) async fn groups(
    State(desk): State<Arc<Desk>>,
    _operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Page { of, .. } = answer::query::<Listed>(query.as_deref())?.page()?;
    let groups = desk.store.within(desk.store.dead_groups(&of, letters::GROUPS)).await?;
    Ok(fresh(json!({ "groups": groups })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    personal_data: Option<String>,
}

pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    operator: Operator,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let whole = match answer::query::<Whole>(query.as_deref())?.personal_data.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::new(Code::InvalidQuery, "personal_data must be true or false")),
    };
    Ok(fresh(desk.letter(&operator, &id, whole).await?))
}

/// Open letters that something is to be done with: by their ids, by what they have in common, or all on purpose.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Chosen {
    pub(super) ids: Option<Vec<DeadLetterId>>,
    #[serde(rename = "where")]
    pub(super) having: Filter,
    pub(super) all: bool,
    pub(super) dry_run: bool,
    pub(super) why: String,
}

impl Chosen {
    /// The selection. Nothing said is nothing chosen: a slip of the hand must not replay everything.
    fn selection(&self) -> Result<Selection, Problem> {
        let ids = self.ids.clone().filter(|ids| !ids.is_empty());
        if ids.is_none() && self.having.says_nothing() && !self.all {
            let detail = "which dead letters? Say ids, where {lane, kind, fingerprint, order, since, until}, or all: true. \
                          Nothing was changed";
            return Err(Problem::new(Code::NothingChosen, detail));
        }
        if ids.as_ref().is_some_and(|ids| ids.len() > NAMED) {
            let detail = format!("at most {NAMED} ids in one request. Nothing was changed");
            return Err(Problem::new(Code::InvalidBody, detail));
        }
        Ok(Selection { ids, ..self.having.clone().of(Became::Open)? })
    }

    /// Why, which has to be said.
    fn reason(&self) -> Result<String, Problem> {
        said(&self.why)
    }
}

/// A reason that says something.
fn said(why: &str) -> Result<String, Problem> {
    let why = why.trim();
    if why.is_empty() {
        return Err(Problem::new(Code::InvalidBody, "say why, for who reads it later. Nothing was changed"));
    }
    Ok(why.to_owned())
}

pub(super) async fn replay(
    State(desk): State<Arc<Desk>>,
    operator: Operator,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let chosen: Chosen = answer::body(body)?;
    if chosen.dry_run {
        let tried = desk.rehearse(&operator, &chosen).await?;
        return Ok(fresh(json!({ "rehearsed": tried, "most": REHEARSED })));
    }
    Ok(fresh(desk.replay(&operator, &chosen).await?))
}

pub(super) async fn drop_them(
    State(desk): State<Arc<Desk>>,
    operator: Operator,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let chosen: Chosen = answer::body(body)?;
    if chosen.dry_run {
        let groups = desk.store.within(desk.store.dead_groups(&chosen.selection()?, letters::GROUPS)).await?;
        return Ok(fresh(json!({ "groups": groups })));
    }
    Ok(fresh(json!({ "dropped": desk.drop_letters(&operator, &chosen).await? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edited {
    payload: Value,
    why: String,
}

pub(super) async fn edit(
    State(desk): State<Arc<Desk>>,
    operator: Operator,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Edited { payload, why } = answer::body(body)?;
    let id = letter_id(&id)?;
    desk.mend(&operator, id, &payload, &why).await?;
    Ok(fresh(json!({ "id": id, "edited": true })))
}

pub(super) fn letter_id(text: &str) -> Result<DeadLetterId, Problem> {
    let unreadable =
        |_| Problem::new(Code::UnknownDeadLetter, "a dead letter's id is dead_ and 26 letters or digits");
    text.parse().map_err(unreadable)
}

impl Desk {
    /// One letter, masked unless `whole` is asked for by somebody who may see it.
    pub(super) async fn letter(&self, operator: &Operator, id: &str, whole: bool) -> Result<Shown, Problem> {
        let id = letter_id(id)?;
        if whole {
            operator.require(Action::ReplayDeadLetter)?;
            self.own_letter(operator, id).await?;
        }
        let actor = whole.then(|| operator.actor());
        let found = letters::show(&self.store, id, actor.as_deref());
        let found = self.store.within(found).await?;
        found.ok_or_else(|| Problem::new(Code::UnknownDeadLetter, "there is none of this id"))
    }

    /// Refuses a letter that is known to be another shop's: who operates the fleet replays and drops it, and is shown no
    /// customer of theirs.
    async fn own_letter(&self, operator: &Operator, id: DeadLetterId) -> Result<(), Problem> {
        let tenant = self.store.within(self.store.dead_letter_tenant(id)).await?;
        if tenant.is_none_or(|tenant| tenant == operator.tenant) {
            return Ok(());
        }
        let detail =
            "it is about a customer of another shop: its staff may see that and change it, by the commands";
        Err(Problem::new(Code::Forbidden, detail))
    }

    /// What a replay would do.
    pub(super) async fn rehearse(
        &self,
        operator: &Operator,
        chosen: &Chosen,
    ) -> Result<Vec<Rehearsed>, Problem> {
        operator.require(Action::ReplayDeadLetter)?;
        Ok(letters::rehearse(&self.store, &chosen.selection()?, &self.rules, REHEARSED).await?)
    }

    /// Takes letters up again.
    pub(super) async fn replay(&self, operator: &Operator, chosen: &Chosen) -> Result<Replayed, Problem> {
        operator.require(Action::ReplayDeadLetter)?;
        let (of, actor, store) = (chosen.selection()?, operator.actor(), self.store.clone());
        let done =
            self.whatever_comes(async move { letters::replay(&store, &of, &actor, |_| ()).await }).await;
        self.letters_changed();
        done
    }

    /// Gives letters up for good; how many.
    pub(super) async fn drop_letters(&self, operator: &Operator, chosen: &Chosen) -> Result<u64, Problem> {
        operator.require(Action::DropDeadLetter)?;
        let (of, why) = (chosen.selection()?, chosen.reason()?);
        let (actor, store) = (operator.actor(), self.store.clone());
        let done =
            self.whatever_comes(async move { letters::drop_all(&store, &of, &actor, &why).await }).await;
        self.letters_changed();
        done
    }

    /// Changes a letter's payload.
    pub(super) async fn mend(
        &self,
        operator: &Operator,
        id: DeadLetterId,
        payload: &Value,
        why: &str,
    ) -> Result<(), Problem> {
        operator.require(Action::ReplayDeadLetter)?;
        let why = said(why)?;
        self.own_letter(operator, id).await?;
        Ok(letters::edit(&self.store, id, payload, (&operator.actor(), &why)).await?)
    }

    /// Ends what was begun, whether or not its client waits for the answer.
    async fn whatever_comes<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Problem> {
        let ended = self.tasks.spawn(work).await;
        let broken = |_| Problem::new(Code::Internal, "it broke off: the log of this process tells more");
        Ok(ended.map_err(broken)??)
    }
}
