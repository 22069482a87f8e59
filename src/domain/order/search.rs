//! What orders are asked for by: the parameters of a list, read whole, or every fault of them named.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::{FulfilmentStatus, PaymentStatus, Status, Vocabulary};
use crate::domain::fault::{Fault, FaultCode, Faults};

/// Orders of one page: enough for a screen, few enough for one answer of some hundred kilobytes.
const MOST: i64 = 100;
/// Orders of a page where nobody says how many.
const USUAL: i64 = 25;
/// As much text as is looked for: names, numbers and addresses are shorter.
const MAX_TEXT: usize = 100;
/// The longest number, id or cursor that is looked at: ours and the providers' are shorter.
const MAX_NAME: usize = 255;

/// What a list of orders is asked for by. What is not said is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// How many orders at most.
    pub limit: i64,
    /// Where the last page ended, as it was told.
    pub cursor: Option<String>,
    /// Whose words are spoken.
    pub vocabulary: Vocabulary,
    /// Any of these states.
    pub statuses: Option<Vec<Status>>,
    /// Any of these.
    pub payment: Option<Vec<PaymentStatus>>,
    /// Any of these.
    pub fulfilment: Option<Vec<FulfilmentStatus>>,
    /// Made at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Made before this time.
    pub until: Option<DateTime<Utc>>,
    /// Part of an order's number, cart or customer's id; for those who may see persons, also of a name, e-mail address or phone
    /// number.
    pub text: Option<String>,
    /// This customer's.
    pub customer: Option<String>,
    /// The one of this number.
    pub number: Option<String>,
    /// The one that this payment at a provider is for.
    pub payment_id: Option<String>,
}

impl Search {
    /// Reads the parameters of a query, or names every fault of them. Lists are separated by commas, or repeated.
    pub fn read(pairs: &[(String, String)]) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader { pairs, faults: Faults::default(), known: Vec::new() };
        let vocabulary = reader.vocabulary();
        let read = Self {
            limit: reader.limit(),
            cursor: reader.text("cursor", MAX_NAME),
            vocabulary,
            statuses: reader
                .any("status", &vocabulary.words(), |word| {
                    Some(vocabulary.states(word)).filter(|states| !states.is_empty())
                })
                .map(|states| states.concat()),
            payment: reader.any(
                "payment_status",
                &PaymentStatus::ALL.iter().map(|each| each.name()).collect::<Vec<_>>(),
                |word| PaymentStatus::named(&word.replace("canceled", "cancelled")),
            ),
            fulfilment: reader.any(
                "fulfilment_status",
                &FulfilmentStatus::ALL.iter().map(|each| each.name()).collect::<Vec<_>>(),
                FulfilmentStatus::named,
            ),
            from: reader.time("created_from"),
            until: reader.time("created_until"),
            text: reader.text("text", MAX_TEXT),
            customer: reader.text("customer_id", MAX_NAME),
            number: reader.text("order_number", MAX_NAME),
            payment_id: reader.text("provider_payment_id", MAX_NAME),
        };
        let faults = reader.close();
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }

    /// Whether it may pass over many orders to find few: none of these conditions has an index of its own.
    #[must_use]
    pub fn passes_over(&self) -> bool {
        self.statuses.is_some() || self.payment.is_some() || self.fulfilment.is_some() || self.text.is_some()
    }
}

/// The vocabulary of a query that takes nothing else.
pub fn vocabulary(pairs: &[(String, String)]) -> Result<Vocabulary, Vec<Fault>> {
    let mut reader = Reader { pairs, faults: Faults::default(), known: Vec::new() };
    let vocabulary = reader.vocabulary();
    let faults = reader.close();
    if faults.is_empty() { Ok(vocabulary) } else { Err(faults) }
}

struct Reader<'q> {
    pairs: &'q [(String, String)],
    faults: Faults,
    known: Vec<&'static str>,
}

impl<'q> Reader<'q> {
    /// Every value of a parameter; an empty one is none.
    fn values(&mut self, name: &'static str) -> Vec<&'q str> {
        self.known.push(name);
        let of_name = self.pairs.iter().filter(|(given, value)| given == name && !value.is_empty());
        of_name.map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of a parameter.
    fn value(&mut self, name: &'static str) -> Option<&'q str> {
        let values = self.values(name);
        if values.len() > 1 {
            self.faults.note(name, FaultCode::TooMany, "may be given once");
        }
        values.first().copied()
    }

    fn text(&mut self, name: &'static str, max: usize) -> Option<String> {
        let value = serde_json::Value::from(self.value(name)?);
        self.faults.text(&value, name, max).map(|text| text.trim().to_owned())
    }

    fn limit(&mut self) -> i64 {
        let Some(value) = self.value("limit") else { return USUAL };
        let number = value.parse().ok().filter(|number| (1..=MOST).contains(number));
        if number.is_none() {
            self.faults.note("limit", FaultCode::OutOfRange, format!("must be 1 to {MOST}"));
        }
        number.unwrap_or(USUAL)
    }

    fn vocabulary(&mut self) -> Vocabulary {
        let names = Vocabulary::ALL.map(Vocabulary::name);
        let Some(value) = self.value("vocabulary") else { return Vocabulary::default() };
        let read = Vocabulary::named(value);
        if read.is_none() {
            self.unknown("vocabulary", &names);
        }
        read.unwrap_or_default()
    }

    /// Words of a list, each read; a word that nobody knows is one fault, however many there are.
    fn any<T>(
        &mut self,
        name: &'static str,
        words: &[&str],
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let values = self.values(name);
        let given = values.iter().flat_map(|value| value.split(',')).map(str::trim);
        let read: Vec<Option<T>> = given.map(read).collect();
        if read.iter().any(Option::is_none) {
            self.unknown(name, words);
        }
        let read = read.into_iter().flatten().collect();
        (!values.is_empty()).then_some(read)
    }

    fn unknown(&mut self, name: &'static str, words: &[&str]) {
        self.faults.note(name, FaultCode::UnknownValue, format!("must be one of {}", words.join(", ")));
    }

    /// A time, or the beginning of a day.
    fn time(&mut self, name: &'static str) -> Option<DateTime<Utc>> {
        let value = self.value(name)?;
        let time = DateTime::parse_from_rfc3339(value).map(|time| time.to_utc()).ok();
        let day = || value.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN).and_utc());
        let read = time.or_else(day);
        if read.is_none() {
            let detail = "must be a time such as 2026-11-21T09:30:00Z, or a day such as 2026-11-21";
            self.faults.note(name, FaultCode::WrongType, detail);
        }
        read
    }

    fn close(mut self) -> Vec<Fault> {
        for (name, _) in self.pairs.iter().filter(|(name, _)| !self.known.contains(&name.as_str())) {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            self.faults.note(shown, FaultCode::UnknownField, "there is no such parameter");
        }
        self.faults.list()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<Search, Vec<String>> {
        let pairs: Vec<_> =
            query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Search::read(&pairs).map_err(|faults| faults.into_iter().map(|fault| fault.field).collect())
    }

    #[test]
    fn nothing_said_is_the_newest_in_our_own_words() {
        let search = read(&[]).unwrap();
        assert_eq!((search.limit, search.vocabulary, search.statuses), (USUAL, Vocabulary::Canonical, None));
    }

    #[test]
    fn a_list_may_be_separated_or_repeated_and_is_in_the_words_of_the_vocabulary() {
        let search =
            read(&[("status", "paid,shipped"), ("status", "canceled"), ("vocabulary", "shop")]).unwrap();
        assert_eq!(
            search.statuses.unwrap(),
            [Status::PaymentConfirmed, Status::Shipped, Status::OutForDelivery, Status::Cancelled]
        );
        assert_eq!(read(&[("status", "paid")]), Err(vec!["status".to_owned()]));
    }

    #[test]
    fn a_day_is_its_beginning() {
        let search = read(&[("created_from", "2026-11-21"), ("created_until", "2026-11-21T10:00:00+01:00")]);
        let search = search.unwrap();
        assert_eq!(search.from.unwrap().to_rfc3339(), "2026-11-21T00:00:00+00:00");
        assert_eq!(search.until.unwrap().to_rfc3339(), "2026-11-21T09:00:00+00:00");
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let faults = read(&[
            ("vocabulary", "klingon"),
            ("limit", "0"),
            ("status", "lost"),
            ("payment_status", "paid"),
            ("fulfilment_status", "gone"),
            ("created_from", "yesterday"),
            ("order_number", "1"),
            ("order_number", "2"),
            ("text", "\u{7}"),
            ("colour", "blue"),
        ])
        .unwrap_err();
        let mut named = faults.clone();
        named.sort();
        assert_eq!(
            named,
            [
                "colour",
                "created_from",
                "fulfilment_status",
                "limit",
                "order_number",
                "payment_status",
                "status",
                "text",
                "vocabulary"
            ]
        );
    }
}
