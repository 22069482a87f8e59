//! The pages of dead letters: groups by what they died of, lists, one with all that is known of it; and what is done about
//! them.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Redirect;
use serde_json::{Value, json};

use super::following;
use super::pages::Page;
use super::session::{Posted, Visitor};
use crate::ids::DeadLetterId;
use crate::job::Lane;
use crate::jobs::Kind;
use crate::ops::dead_letters::{self as letters, Compared, Difference, Shown};
use crate::ops::desk::Desk;
use crate::ops::desk::answer;
use crate::ops::desk::dead::{Chosen, Filter, Listed, REHEARSED, letter_id};
use crate::ops::desk::problem::{Code, Problem};
use crate::store::dead_letters::Selection;

pub(super) async fn groups(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Page, Problem> {
    let of = answer::query::<Listed>(query.as_deref())?.page()?.of;
    // A part of them is counted at once; all of them may take as long as a bad night was.
    let (groups, seconds, is_old) = if of == Selection::default() {
        let found = desk.groups_soon().await?;
        (found.what.clone(), found.since.elapsed().as_secs(), found.is_old())
    } else {
        (desk.store.within(desk.store.dead_groups(&of, letters::GROUPS)).await?, 0, false)
    };
    let sought = sought(query.as_deref());
    let having = those(&sought, &NARROWS);
    let facts = json!({
        "groups": groups, "most": letters::GROUPS, "having": having, "at": "/dead",
        "seconds": seconds, "looks_again": is_old && seconds > 0,
    });
    Ok(desk.page("dead.html", &visitor, with_form(facts, sought)))
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Page, Problem> {
    let shown = answer::query::<Listed>(query.as_deref())?.page()?;
    let found = desk.store.within(desk.store.dead_letters(&shown.of, shown.after, shown.limit)).await?;
    let is_full = i64::try_from(found.len()) == Ok(shown.limit);
    let next = found.last().filter(|_| is_full).map(|last| following(query.as_deref(), last.id));
    let facts =
        json!({ "letters": found, "next": next, "fingerprint": shown.of.fingerprint, "at": "/dead/list" });
    Ok(desk.page("letters.html", &visitor, with_form(facts, sought(query.as_deref()))))
}

/// What the form asks for.
const SOUGHT: [&str; 7] = ["fingerprint", "lane", "kind", "order", "state", "since", "until"];
/// What narrows a group down: whatever is done with one that is shown is done with what is shown of it.
const NARROWS: [&str; 5] = ["lane", "kind", "order", "since", "until"];

/// What the form asked for, by its names.
fn sought(query: Option<&str>) -> Value {
    let mut sought: Value = SOUGHT.iter().map(|name| ((*name).to_owned(), json!(""))).collect();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        sought[name.as_ref()] = json!(value);
    }
    sought
}

/// Those of these that say something.
fn those(sought: &Value, names: &[&str]) -> Value {
    let said =
        |name: &str| sought.get(name).filter(|value| value.as_str().is_some_and(|text| !text.is_empty()));
    names.iter().filter_map(|name| Some(((*name).to_owned(), said(name)?.clone()))).collect()
}

/// These facts, and what the form shows.
fn with_form(mut facts: Value, sought: Value) -> Value {
    facts["sought"] = sought;
    facts["lanes"] = json!(Lane::ALL.map(Lane::name));
    facts["kinds"] = Kind::ALL.iter().map(|kind| kind.name()).collect();
    facts["states"] = json!(["open", "replayed", "dropped", "any"]);
    facts
}

pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Page, Problem> {
    let is_whole = query.as_deref() == Some("personal_data=true");
    let Shown { letter, compared } = desk.letter(&visitor.operator, &id, is_whole).await?;
    let payload = pretty(&letter.payload);
    let is_open = letter.replayed_at.is_none() && letter.dropped_at.is_none();
    let compared = compared.as_ref().map(beside);
    let before: Vec<String> = letter.edits.iter().map(|edit| pretty(&edit.before)).collect();
    let facts = json!({ "letter": letter, "payload": payload, "before": before, "is_whole": is_whole, "is_open": is_open,
                        "compared": compared });
    Ok(desk.page("letter.html", &visitor, facts))
}

/// What differs, each value as it stands in the JSON.
fn beside(compared: &Compared) -> Value {
    let text = |value: Option<&Value>| value.map(Value::to_string);
    let told = |one: &Difference| json!({ "how": one.how, "field": one.field, "here": text(one.here.as_ref()), "there": text(one.there.as_ref()) });
    let differences: Vec<Value> = compared.differences.iter().map(told).collect();
    json!({ "job": compared.job, "ended_at": compared.ended_at, "differences": differences })
}

fn pretty(payload: &Value) -> String {
    serde_json::to_string_pretty(payload).unwrap_or_default()
}

/// What a form may name beside letters' ids.
const NAMED: [&str; 6] = ["fingerprint", "lane", "kind", "order", "since", "until"];

/// Rehearses, replays or drops what a form names: letters by their ids, or all that have in common what it says.
pub(super) async fn act(State(desk): State<Arc<Desk>>, posted: Posted) -> Result<Page, Problem> {
    let ids: Result<Vec<DeadLetterId>, Problem> = posted.fields("id").map(letter_id).collect();
    let named: Value =
        NAMED.iter().filter_map(|name| Some(((*name).to_owned(), json!(posted.field(name)?)))).collect();
    let having: Filter = serde_json::from_value(named.clone())
        .map_err(|error| Problem::new(Code::InvalidBody, format!("{error}. Nothing was changed")))?;
    let chosen = Chosen {
        ids: Some(ids?),
        having,
        why: posted.field("why").unwrap_or_default().to_owned(),
        ..Chosen::default()
    };
    let operator = &posted.visitor.operator;
    let mut facts = match posted.field("do") {
        Some("rehearse") => {
            let tried = desk.rehearse(operator, &chosen).await?;
            let tried: Vec<Value> = tried.iter().map(|one| json!({ "letter": one.letter, "kind": one.kind, "order": one.order, "brief": one.would.brief(), "would": one.would })).collect();
            json!({ "did": "rehearse", "most": REHEARSED, "tried": tried })
        }
        Some("replay") => json!({ "did": "replay", "became": desk.replay(operator, &chosen).await? }),
        Some("drop") => json!({ "did": "drop", "dropped": desk.drop_letters(operator, &chosen).await? }),
        Some(_) | None => {
            return Err(Problem::new(
                Code::NothingChosen,
                "the form does not say what to do. Nothing was changed",
            ));
        }
    };
    facts["ids"] = json!(chosen.ids);
    facts["fingerprint"] = json!(chosen.having.fingerprint);
    facts["having"] = those(&named, &NARROWS);
    facts["order"] = json!(chosen.having.order);
    Ok(desk.page("done.html", &posted.visitor, facts))
}

/// Changes a letter's payload, and shows it again.
pub(super) async fn edit(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Redirect, Problem> {
    let id = letter_id(&id)?;
    let no_json =
        |error| Problem::new(Code::InvalidBody, format!("that is no JSON: {error}. Nothing was changed"));
    let payload: Value =
        serde_json::from_str(posted.field("payload").unwrap_or_default()).map_err(no_json)?;
    desk.mend(&posted.visitor.operator, id, &payload, posted.field("why").unwrap_or_default()).await?;
    Ok(Redirect::to(&format!("/dead/{id}")))
}
