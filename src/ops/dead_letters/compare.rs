//! A dead letter beside a job of its kind that ended well: what it lacks, what it has more, what is of another shape, and
//! what merely says something else.
//!
//! The other job's fields lead to nobody, whoever looks: they are somebody else's. So of what may be personal only whether it
//! is there is compared, and never what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::ids::JobId;
use crate::job::anonymous;
use crate::store::exemplars::Exemplar;

/// Differences that are told: who has more holds two things against each other that have nothing in common.
const MOST: usize = 100;

/// What a letter is beside a job that ended well.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// That job.
    pub job: JobId,
    /// About when it ended.
    pub ended_at: DateTime<Utc>,
    /// Where they differ, what is missing first; a hundred at most.
    pub differences: Vec<Difference>,
}

/// A field in which they differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// How.
    pub how: How,
    /// Which field, as a JSON pointer.
    pub field: String,
    /// What the letter says there.
    pub here: Option<Value>,
    /// What the other says there, without what leads to a person.
    pub there: Option<Value>,
}

/// How a field differs, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The letter has no such field.
    Missing,
    /// The other has no such field.
    Added,
    /// A text here and a number there, or nothing.
    Shape,
    /// The same shape, and something else.
    Value,
}

impl How {
    const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Added => "added",
            Self::Shape => "shape",
            Self::Value => "value",
        }
    }
}

/// Compares a letter's payload, masked or whole, with an exemplar.
pub(super) fn compare(payload: &Value, with: &Exemplar) -> Compared {
    let plain = anonymous(payload);
    let (mut ours, mut theirs) = (BTreeMap::new(), BTreeMap::new());
    fields(String::new(), &plain, &mut ours);
    fields(String::new(), &with.payload, &mut theirs);
    let all: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let mut differences: Vec<Difference> = all
        .into_iter()
        .filter_map(|field| {
            let how = differs(ours.get(field).copied(), theirs.get(field).copied())?;
            let there = theirs.get(field).map(|value| (*value).clone());
            Some(Difference { how, field: field.clone(), here: payload.pointer(field).cloned(), there })
        })
        .collect();
    differences.sort_by_key(|difference| difference.how);
    differences.truncate(MOST);
    Compared { job: with.job, ended_at: with.ended_at, differences }
}

/// Every field that holds something of its own, by its pointer.
fn fields<'a>(at: String, value: &'a Value, found: &mut BTreeMap<String, &'a Value>) {
    match value {
        Value::Object(inner) if !inner.is_empty() => {
            for (name, value) in inner {
                fields(format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), value, found);
            }
        }
        Value::Array(inner) if !inner.is_empty() => {
            for (no, value) in inner.iter().enumerate() {
                fields(format!("{at}/{no}"), value, found);
            }
        }
        Value::Object(_)
        | Value::Array(_)
        | Value::String(_)
        | Value::Number(_)
        | Value::Bool(_)
        | Value::Null => {
            found.insert(at, value);
        }
    }
}

fn differs(ours: Option<&Value>, theirs: Option<&Value>) -> Option<How> {
    match (ours, theirs) {
        (None, None) => None,
        (None, Some(_)) => Some(How::Missing),
        (Some(_), None) => Some(How::Added),
        (Some(ours), Some(theirs)) if ours == theirs => None,
        (Some(ours), Some(theirs)) if std::mem::discriminant(ours) == std::mem::discriminant(theirs) => {
            Some(How::Value)
        }
        (Some(_), Some(_)) => Some(How::Shape),
    }
}

/// It as text, for a terminal.
pub(super) fn render(compared: &Compared) -> String {
    let Compared { job, ended_at, differences } = compared;
    let when = ended_at.format("%Y-%m-%d %H:%M:%S UTC");
    if differences.is_empty() {
        return format!("Beside {job}, which ended well {when}: the same fields, which say the same.\n");
    }
    let mut text = format!("Beside {job}, which ended well {when}:\n");
    let told = |value: Option<&Value>| value.map_or_else(|| "–".to_owned(), ToString::to_string);
    for Difference { how, field, here, there } in differences {
        // Writing into a text can't fail.
        let _ = writeln!(
            text,
            "  {:8} {field}: {} here, {} there",
            how.name(),
            told(here.as_ref()),
            told(there.as_ref())
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn beside(here: &Value, there: &Value) -> Vec<(How, String, Option<Value>, Option<Value>)> {
        let exemplar =
            Exemplar { job: JobId::new(), payload: anonymous(there), ended_at: DateTime::UNIX_EPOCH };
        let compared = compare(here, &exemplar);
        assert_eq!(render(&compared).lines().count(), 1 + compared.differences.len());
        let told = compared.differences.into_iter();
        told.map(|Difference { how, field, here, there }| (how, field, here, there)).collect()
    }

    #[test]
    fn what_is_missing_comes_first_and_what_is_the_same_not_at_all() {
        let here = json!({ "order": "ord_2", "try": 1, "size": "7", "more": [] });
        let there = json!({ "order": "ord_1", "try": 1, "size": 7, "lines": [{ "sku": "A/B" }] });
        let expected = vec![
            (How::Missing, "/lines/0/sku".to_owned(), None, Some(json!("A/B"))),
            (How::Added, "/more".to_owned(), Some(json!([])), None),
            (How::Shape, "/size".to_owned(), Some(json!("7")), Some(json!(7))),
            (How::Value, "/order".to_owned(), Some(json!("ord_2")), Some(json!("ord_1"))),
        ];
        assert_eq!(beside(&here, &there), expected);
        assert_eq!(beside(&here, &here), []);
    }

    #[test]
    fn of_persons_only_whether_they_are_there_is_told() {
        let there = json!({ "email": "other@example.com", "phone": "1", "metadata": { "a": "x" } });
        let whole = json!({ "email": "a@example.com", "phone": null, "metadata": { "b": "y" } });
        let expected = [(How::Shape, "/phone".to_owned(), Some(Value::Null), Some(json!("…")))];
        assert_eq!(beside(&whole, &there), expected, "to whoever may see their own letter's person");
        assert_eq!(beside(&crate::job::masked(&whole), &there), expected);
    }

    #[test]
    fn two_things_that_have_nothing_in_common_are_not_told_to_their_end() {
        let there: Vec<u32> = (0..300).collect();
        assert_eq!(beside(&json!({}), &json!({ "all": there })).len(), MOST);
    }
}
