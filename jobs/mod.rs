//! What the fleet does: one file for each kind of job, and the list that makes them known.
//!
//! A provider must never be called with a transaction open, and the surest way is that the function that has the
//! transaction has no provider, and the function that has the provider has no transaction: `load` and `settle` get a
//! [`Tx`], `call` gets the [`Providers`]. A kind that is missing from the list can not be inserted: it does not compile.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{AddressSettings, AlertSettings, OrderSettings, ShippingSettings, ShopSettings};
use crate::domain::offer::Offers;
use crate::ids::{JobId, OrderId};
use crate::job::{Calls, Dependency, Failure, Lane, Limits, Listed, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::seal::Seal;
use crate::store::Tx;
use crate::store::effects::Proof;
use crate::telemetry::TraceContext;
use crate::wording::Wording;

mod cancellation;
pub mod commands;
mod dispute;
mod evidence;
mod giveback;
mod handover;
pub mod letter;
mod ops_alert;
mod parcel;
mod settlement;
pub mod sweeps;
mod taken;
mod telling;

/// What a job does.
///
/// `load` and `settle` work on a slice of jobs in one transaction, because that is where the speed is; each answers for
/// every job, in the order of the slice. They may be run again after a rollback, so they keep nothing outside `tx`.
pub trait Job: Listed {
    /// What to ask the provider.
    type Plan: Send + Sync + 'static;
    /// What it answered.
    type Receipt: Send + Sync + 'static;

    /// Reads, decides, and ends here whatever needs no call.
    fn load(
        jobs: &[Loaded<Self>],
        tx: &mut Tx,
        rules: &Rules,
    ) -> impl Future<Output = Result<Vec<Step<Self::Plan>>, Failure>> + Send;

    /// Asks the provider. No transaction is open; many run at once.
    fn call(
        &self,
        plan: &Self::Plan,
        to: &Providers,
    ) -> impl Future<Output = Result<Self::Receipt, Failure>> + Send;

    /// Whom this call goes to: what that one bears, and whether it is there, is known to the whole fleet.
    fn whom(_plan: &Self::Plan, _providers: &Providers) -> Option<Dependency> {
        Self::CALLS.whom()
    }

    /// Writes what came back, moves the domain, inserts the next jobs.
    fn settle(
        back: &[Called<Self>],
        tx: &mut Tx,
        rules: &Rules,
    ) -> impl Future<Output = Result<Vec<Verdict>, Failure>> + Send;

    /// What the world must learn when this job is given up.
    fn buried(
        &self,
        id: JobId,
        failure: &Failure,
        tx: &mut Tx,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The exception that [`Job::buried`] opens about its order. A replay resolves it; another burial opens it again.
    const EXCEPTION: Option<&'static str> = None;

    /// Takes back what else [`Job::buried`] did, where that would keep these jobs from being worked: a person replays them.
    /// In the transaction that makes them open work again; several may be about one order.
    fn replayed(_jobs: &[Loaded<Self>], _tx: &mut Tx) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }

    /// The outside mutation that a plan asks for, by its name.
    fn effect(_plan: &Self::Plan) -> Option<&str> {
        None
    }

    /// What a receipt proves of that mutation.
    fn proof(_plan: &Self::Plan, _receipt: &Self::Receipt) -> Option<Proof> {
        None
    }

    /// The order that the job is about, where its fields say so.
    fn order(&self) -> Option<OrderId> {
        None
    }
}

/// A job whose row is locked, on its way into `load`.
#[derive(Clone, Debug)]
pub struct Loaded<J> {
    /// The job.
    pub id: JobId,
    /// Its fields.
    pub job: J,
    /// How long ago it was first due.
    pub age: Duration,
    /// The trace that it came with.
    pub trace: Option<TraceContext>,
}

impl<J> Loaded<J> {
    /// What it writes as the cause of what it does.
    pub fn cause(&self) -> String {
        self.id.to_string()
    }
}

/// A job whose call came back.
pub struct Called<J: Job> {
    /// The job.
    pub loaded: Arc<Loaded<J>>,
    /// What it asked.
    pub plan: Arc<J::Plan>,
    /// What it was told.
    pub receipt: Arc<J::Receipt>,
}

impl<J: Job> Clone for Called<J> {
    fn clone(&self) -> Self {
        Self {
            loaded: Arc::clone(&self.loaded),
            plan: Arc::clone(&self.plan),
            receipt: Arc::clone(&self.receipt),
        }
    }
}

/// What jobs go by beside their own fields.
pub struct Rules {
    /// Holds, deadlines, policies.
    pub orders: OrderSettings,
    /// Where parcels leave from.
    pub ship_from: AddressSettings,
    /// How parcels are sent.
    pub shipping: ShippingSettings,
    /// What mails say of the shop.
    pub shop: ShopSettings,
    /// Who is on call.
    pub alerts: AlertSettings,
    /// Who can take the money.
    pub offers: Offers,
    /// Seals client secrets.
    pub seal: Seal,
    /// The wording of mails.
    pub wording: Wording,
}

/// The plan and receipt of a kind that calls nobody: it can not be made.
pub enum Never {}

/// Takes a job of any kind and does something with its type: how the worker and the tests reach every kind.
pub trait Visitor {
    /// What comes of it.
    type Out: Send;
    /// Does it.
    fn visit<J: Job>(self) -> impl Future<Output = Self::Out> + Send;
}

macro_rules! jobs {
    ($($(#[$only:meta])? $module:ident::$name:ident),* $(,)?) => {
        $($(#[$only])? pub mod $module;)*

        /// Every kind of job.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$only])? #[doc = concat!("[`", stringify!($module), "`]")] $name,)*
        }

        $($(#[$only])? impl Listed for $module::$name {})*

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$($(#[$only])? Self::$name),*];

            /// Its stored name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($(#[$only])? Self::$name => <$module::$name as Payload>::KIND),* }
            }

            /// Its lane.
            #[must_use]
            pub const fn lane(self) -> Lane {
                match self { $($(#[$only])? Self::$name => <$module::$name as Payload>::LANE),* }
            }

            /// Its bounds.
            #[must_use]
            pub const fn limits(self) -> Limits {
                match self { $($(#[$only])? Self::$name => <$module::$name as Payload>::LIMITS),* }
            }

            /// Whom its jobs call.
            #[must_use]
            pub const fn calls(self) -> Calls {
                match self { $($(#[$only])? Self::$name => <$module::$name as Payload>::CALLS),* }
            }

            /// The kind of a stored name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name)
            }

            /// Whether this version can read a job's fields: all of them, and each as it is written.
            #[must_use]
            pub fn reads(self, fields: &[u8]) -> bool {
                match self { $($(#[$only])? Self::$name => serde_json::from_slice::<$module::$name>(fields).is_ok()),* }
            }

            /// Hands the kind's type to a visitor.
            pub async fn visit<V: Visitor>(self, visitor: V) -> V::Out {
                match self { $($(#[$only])? Self::$name => visitor.visit::<$module::$name>().await),* }
            }
        }
    };
}

jobs! {
    order_intent::OrderIntent,
    payment_open::PaymentOpen,
    payment_cancel::PaymentCancel,
    refund::Refund,
    refund_sync::RefundSync,
    payment_confirmation::PaymentConfirmation,
    payment_sync::PaymentSync,
    payment_status::PaymentStatus,
    event_sweep::EventSweep,
    reservation_expiry::ReservationExpiry,
    order_lapse::OrderLapse,
    order_completion::OrderCompletion,
    shipping_label::ShippingLabel,
    label_void::LabelVoid,
    tracking::Tracking,
    parcel_look::ParcelLook,
    email::Email,
    mail_news::MailTold,
    #[cfg(feature = "proof")]
    probe::Probe,
}

/// Whom every job of the lane has to call: only then there is nothing to do in it while that one is away.
#[must_use]
pub fn needed_by(lane: Lane) -> Option<Dependency> {
    let mut calls = Kind::ALL.iter().filter(|kind| kind.lane() == lane).map(|kind| kind.calls());
    let Calls::Always(first) = calls.next()? else { return None };
    calls.all(|other| other == Calls::Always(first)).then_some(first)
}

/// Two kinds of one name would take each other's jobs.
const _: () = {
    let mut left = 0;
    while left < Kind::ALL.len() {
        let mut right = left + 1;
        while right < Kind::ALL.len() {
            assert!(!same(Kind::ALL[left].name(), Kind::ALL[right].name()), "two kinds have one name");
            right += 1;
        }
        left += 1;
    }
};

const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}
