//! The books: what the facts add up to, kept by id so that no request has to look through all of them.
//!
//! Only [`Books::record`] changes them, and it writes the fact first. What is not a fact (a call that still runs, events
//! on their way out) is kept beside and is gone with the process.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::easypost::shipment::Shipment;
use super::easypost::tracker::Tracker;
use super::smtp::mail::Mail;
use super::stripe::disputes::Dispute;
use super::stripe::intent::Intent;
use super::stripe::refunds::Refund;
use super::truth::{Answer, Asked, Delivered, Fact, Line, Truth};
use super::wallet::WalletPayment;
use super::webhooks::Event;

/// Objects by id, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    order: Vec<String>,
    by_id: HashMap<String, T>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { order: Vec::new(), by_id: HashMap::new() }
    }
}

impl<T> Shelf<T> {
    /// The object with this id.
    pub(crate) fn get(&self, id: &str) -> Option<&T> {
        self.by_id.get(id)
    }

    /// All of them, oldest first; from both ends.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.order.iter().filter_map(|id| self.by_id.get(id))
    }

    fn put(&mut self, id: &str, object: T) {
        if self.by_id.insert(id.to_owned(), object).is_none() {
            self.order.push(id.to_owned());
        }
    }
}

/// Everything that the sandbox knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Raw requests.
    pub(crate) requests: Vec<(DateTime<Utc>, Asked)>,
    /// Their number by provider, method and route.
    pub(crate) counts: BTreeMap<String, BTreeMap<String, u64>>,
    /// Payments.
    pub(crate) intents: Shelf<Intent>,
    /// Money given back.
    pub(crate) refunds: Shelf<Refund>,
    /// Money that banks want back.
    pub(crate) disputes: Shelf<Dispute>,
    /// Payments at the wallet, by the shop's reference.
    pub(crate) wallet: Shelf<WalletPayment>,
    /// Answers by idempotency key.
    pub(crate) answers: HashMap<String, Answer>,
    /// Addresses as EasyPost shows them.
    pub(crate) addresses: HashMap<String, Value>,
    /// Shipments, bought or not.
    pub(crate) shipments: Shelf<Shipment>,
    /// Trackers.
    pub(crate) trackers: Shelf<Tracker>,
    /// Tracker ids by tracking code.
    pub(crate) tracker_of: HashMap<String, String>,
    /// Accepted mails, in the order in which they came.
    pub(crate) mails: Vec<Mail>,
    /// Events of both providers.
    pub(crate) events: Shelf<Event>,
    /// Webhooks that arrived, by event.
    pub(crate) delivered: Shelf<Delivered>,
}

impl State {
    fn apply(&mut self, line: &Line) {
        match &line.fact {
            Fact::Request(asked) => {
                let route = format!("{} {}", asked.method, asked.pattern).trim_end().to_owned();
                *self.counts.entry(asked.provider.clone()).or_default().entry(route).or_default() += 1;
                self.requests.push((line.at, asked.clone()));
            }
            Fact::Payment(intent) => self.intents.put(&intent.id, intent.clone()),
            Fact::Refund(refund) => self.refunds.put(&refund.id, refund.clone()),
            Fact::Dispute(dispute) => self.disputes.put(&dispute.id, dispute.clone()),
            Fact::Wallet(payment) => self.wallet.put(&payment.reference, payment.clone()),
            Fact::Answer(answer) => {
                self.answers.insert(answer.key.clone(), answer.clone());
            }
            Fact::Address { id, body } => {
                self.addresses.insert(id.clone(), body.clone());
            }
            Fact::Shipment(shipment) => self.shipments.put(&shipment.id, Shipment::clone(shipment)),
            Fact::Tracker(tracker) => {
                self.tracker_of.insert(tracker.code.clone(), tracker.id.clone());
                self.trackers.put(&tracker.id, tracker.clone());
            }
            Fact::Mail(mail) => self.mails.push(mail.clone()),
            Fact::Event(event) => self.events.put(&event.id, event.clone()),
            Fact::Delivered(delivered) => self.delivered.put(&delivered.event, delivered.clone()),
            Fact::Reset => *self = Self::default(),
        }
    }

    /// Events whose webhook has not arrived, oldest first.
    pub(crate) fn owed(&self) -> Vec<Event> {
        self.events.iter().filter(|event| self.delivered.get(&event.id).is_none()).cloned().collect()
    }
}

/// The state, the truth that it is made of, and what is under way.
#[derive(Debug)]
pub(crate) struct Books {
    /// What the facts add up to.
    pub(crate) state: State,
    /// Idempotency keys of calls that run now, with their fingerprints.
    pub(crate) running: HashMap<String, String>,
    /// Events that came up in the present change: they go out when it is over.
    pub(crate) outbox: Vec<Event>,
    truth: Truth,
    broken: bool,
}

impl Books {
    /// Books that say what `lines` say.
    pub(crate) fn open(truth: Truth, lines: &[Line]) -> Self {
        let mut state = State::default();
        for line in lines {
            state.apply(line);
        }
        Self { state, running: HashMap::new(), outbox: Vec::new(), truth, broken: false }
    }

    /// Writes a fact down, then believes it.
    pub(crate) fn record(&mut self, at: DateTime<Utc>, fact: Fact) {
        let line = Line { at, fact };
        if let Err(error) = self.truth.append(&line) {
            tracing::error!(%error, "the sandbox could not write its truth down; it stops");
            self.broken = true;
        }
        self.state.apply(&line);
    }

    /// Records an event; its webhook goes out after the present change.
    pub(crate) fn notify(&mut self, at: DateTime<Utc>, event: Event) {
        self.outbox.push(event.clone());
        self.record(at, Fact::Event(event));
    }

    /// Whether a fact could not be written: what is remembered may then be more than what is written.
    pub(crate) fn broken(&self) -> bool {
        self.broken
    }
}
