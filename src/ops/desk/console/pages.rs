//! The pages' templates: part of the binary, all parsed when the process starts, everything in them escaped.

use axum::http::StatusCode;
use axum::response::Html;
use chrono::{DateTime, Utc};
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior};

use crate::domain::money::Amount;
use crate::ops::queues::span;
use crate::time::Clock;

/// Every template.
const TEMPLATES: [(&str, &str); 20] = [
    ("base.html", include_str!("pages/base.html")),
    ("parts.html", include_str!("pages/parts.html")),
    ("overview.html", include_str!("pages/overview.html")),
    ("live.html", include_str!("pages/live.html")),
    ("lane.html", include_str!("pages/lane.html")),
    ("job.html", include_str!("pages/job.html")),
    ("doctor.html", include_str!("pages/doctor.html")),
    ("settings.html", include_str!("pages/settings.html")),
    ("dead.html", include_str!("pages/dead.html")),
    ("sought.html", include_str!("pages/sought.html")),
    ("letters.html", include_str!("pages/letters.html")),
    ("letter.html", include_str!("pages/letter.html")),
    ("done.html", include_str!("pages/done.html")),
    ("orders.html", include_str!("pages/orders.html")),
    ("order.html", include_str!("pages/order.html")),
    ("stuck.html", include_str!("pages/stuck.html")),
    ("remedy.html", include_str!("pages/remedy.html")),
    ("actions.html", include_str!("pages/actions.html")),
    ("sign_in.html", include_str!("pages/sign_in.html")),
    ("problem.html", include_str!("pages/problem.html")),
];
/// What a chart is drawn in: its width and height, in units of its own.
const CHART: (f64, f64) = (120.0, 28.0);

/// Letters of a detail that a list shows.
const BRIEF: usize = 120;

/// A page and its status.
pub(super) type Page = (StatusCode, Html<String>);

/// The parsed templates.
pub(in crate::ops::desk) struct Pages(Environment<'static>);

impl Pages {
    pub(in crate::ops::desk) fn new() -> Result<Self, Error> {
        let mut pages = Environment::new();
        pages.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        pages.set_auto_escape_callback(|_| AutoEscape::Html);
        pages.add_filter("when", when);
        pages.add_filter("ago", ago);
        pages.add_filter("money", money);
        pages.add_filter("span", span);
        pages.add_filter("rate", |rate: f64| format!("{rate:.1}"));
        pages.add_filter("words", |text: String| text.replace(['_', '-'], " "));
        pages.add_filter("brief", |text: String| text.chars().take(BRIEF).collect::<String>());
        pages.add_filter("query", |text: String| {
            form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
        });
        pages.add_filter("chart", chart);
        pages.add_global("version", env!("CARGO_PKG_VERSION"));
        for (name, source) in TEMPLATES {
            pages.add_template(name, source)?;
        }
        Ok(Self(pages))
    }

    /// A page, or where its template is at fault, a line that says so.
    pub(super) fn render(&self, name: &str, facts: &serde_json::Value) -> Page {
        match self.0.get_template(name).and_then(|page| page.render(Serde(facts))) {
            Ok(page) => (StatusCode::OK, Html(page)),
            Err(error) => {
                tracing::error!(page = name, %error, "a page could not be rendered");
                let told = "This page could not be rendered: the log of this process tells why. The commands show the same.";
                (StatusCode::INTERNAL_SERVER_ERROR, Html(told.to_owned()))
            }
        }
    }
}

fn read(time: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(time).ok().map(|time| time.to_utc())
}

/// A time, short and exact at once.
fn when(time: &str) -> Value {
    read(time).map_or_else(
        || Value::from("–"),
        |at| {
            let (machine, person) = (at.format("%Y-%m-%dT%H:%M:%SZ"), at.format("%Y-%m-%d %H:%M:%S"));
            Value::from_safe_string(format!("<time datetime=\"{machine}\">{person}</time>"))
        },
    )
}

/// How long ago it was.
fn ago(time: &str) -> String {
    read(time).map_or_else(String::new, |at| {
        let seconds = (Clock::real().now() - at).num_seconds();
        span(u64::try_from(seconds).unwrap_or_default())
    })
}

/// An amount of minor units, written out.
fn money(minor: i64, currency: &str) -> String {
    match currency.parse() {
        Ok(currency) => Amount::new(minor, currency).to_string(),
        Err(_) => format!("{minor} {currency}"),
    }
}

/// The points of a line through these values, the oldest at the left, the highest at the top.
#[expect(clippy::needless_pass_by_value, reason = "filters are handed their values")]
fn chart(values: Vec<f64>) -> String {
    let most = values.iter().copied().fold(1.0, f64::max);
    let steps = u32::try_from(values.len().saturating_sub(1).max(1)).unwrap_or(u32::MAX);
    let (width, height) = CHART;
    let point = |(at, value): (u32, &f64)| {
        let x = width * f64::from(at) / f64::from(steps);
        // A line at the very edge would be cut in half.
        let y = (height - 2.0).mul_add(1.0 - value / most, 1.0);
        format!("{x:.1},{y:.1}")
    };
    (0..).zip(&values).map(point).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_template_is_one_and_what_is_shown_is_escaped() {
        let pages = Pages::new().unwrap();
        let told = json!({"page": "problem", "title": "<script>", "detail": "a & b"});
        let (_, Html(page)) = pages.render("problem.html", &told);
        assert!(page.contains("&lt;script&gt;") && page.contains("a &amp; b"), "{page}");
        assert!(!page.contains("<script>") && page.contains("<main"), "{page}");
    }

    #[test]
    fn a_chart_goes_from_left_to_right_within_its_frame() {
        assert_eq!(chart(vec![0.0, 5.0, 10.0]), "0.0,27.0 60.0,14.0 120.0,1.0");
        assert_eq!(chart(Vec::new()), "");
        assert_eq!(chart(vec![0.0]), "0.0,27.0");
    }
}
