//! Releases holds whose time is over, after asking the provider: money that is on its way is worth more than a deadline.
//!
//! Deadlines are judged by the database's clock. A hold under question is marked `closing`, so that no payment is opened
//! for it meanwhile; the mark goes with the hold, with an extension, or with this job's burial.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::payment_cancel::{self, Cancel};
use super::payment_status::PaymentStatus;
use super::settlement::Books;
use super::{Called, Job, Loaded, Rules, handover};
use crate::ids::{JobId, OrderId, PaymentId};
use crate::job::{Calls, Dependency, Failure, Lane, Limits, NewJob, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::provider::stripe::{PaymentSeen, SeenStatus};
use crate::store::effects::Proof;
use crate::store::exceptions::{self, Severity};
use crate::store::orders::Order;
use crate::store::payments::Payment;
use crate::store::reservations::{self, Held};
use crate::store::{Tx, jobs, orders, payments};

mod over;

pub(super) use over::end_unasked;
use over::{Over, Unasked, cancel_open, expire};

/// How soon money that is on its way is asked for again, at first.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// At the end of the longest hold there is less to wait for, and never nothing.
const SOONEST: Duration = Duration::from_secs(1);
/// The longest wait between two such asks: a bank takes days, and its refusal frees the pieces within the hour.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// How long a configured provider's first answer is waited for: most take a fraction of it.
const FIRST_ANSWER: Duration = Duration::from_secs(2);

/// Which hold of which order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservationExpiry {
    /// The order.
    pub order: OrderId,
    /// Its first hold is 1.
    pub epoch: i32,
}

impl ReservationExpiry {
    /// The job of a hold that was just made.
    pub(super) fn at_the_end(&self, held_for: Duration, cause: impl std::fmt::Display) -> NewJob {
        NewJob::of(self, cause).after(held_for).once(Self::key(self.order, self.epoch))
    }

    /// What the job of a hold is inserted under, once.
    pub(super) fn key(order: OrderId, epoch: i32) -> String {
        format!("hold:{order}:{epoch}")
    }
}

impl Payload for ReservationExpiry {
    const KIND: &'static str = "reservation-expiry";
    const LANE: Lane = Lane::Expiry;
    const CALLS: Calls = Calls::Sometimes(Dependency::Stripe);
    const LIMITS: Limits = Limits {
        attempts: 12,
        // Two calls of 8 s, with room for two transactions.
        deadline: Duration::from_secs(25),
        // From the first deadline on: as long as a bank is waited for (`LONGEST_SETTLING` of the settings), and a day. A
        // provider that is away is waited for as long as the grace lasts, which is minutes.
        max_age: Duration::from_hours(24 * 15),
        slice: 128,
        settle: 32,
        calls: 16,
    };

    fn subject(&self) -> Uuid {
        self.order.uuid()
    }
}

/// An open payment, and what may become of the hold.
#[derive(Clone, Debug)]
pub struct Ask {
    cancel: Cancel,
    may_extend: bool,
    /// Whether a bank that takes days was not waited for yet.
    may_settle: bool,
    is_last: bool,
}

impl Ask {
    /// Whether the hold waits on while its payment stands like this.
    const fn waits(&self, status: SeenStatus) -> bool {
        match status {
            SeenStatus::Processing => !self.is_last || self.may_settle,
            SeenStatus::RequiresCapture => !self.is_last,
            SeenStatus::RequiresAction => self.may_extend && !self.is_last,
            SeenStatus::Succeeded
            | SeenStatus::Canceled
            | SeenStatus::RequiresPaymentMethod
            | SeenStatus::RequiresConfirmation
            | SeenStatus::Other => false,
        }
    }
}

impl Job for ReservationExpiry {
    type Plan = Ask;
    type Receipt = PaymentSeen;

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Step<Ask>>, Failure> {
        let ids: Vec<OrderId> = jobs.iter().map(|loaded| loaded.job.order).collect();
        let open = payments::open_of(tx, &ids).await?;
        let payments: Vec<PaymentId> = open.iter().map(|(_, payment)| *payment).collect();
        let books = Books::without_stock(tx, &ids, &payments).await?;
        let active = reservations::active(tx, &ids).await?;
        let (mut steps, mut over) = (Vec::with_capacity(jobs.len()), Vec::new());
        for loaded in jobs {
            let due_one = |held: &&Held| held.order == loaded.job.order && held.epoch == loaded.job.epoch;
            let hold = active.iter().find(due_one);
            let step = match (hold, books.orders.get(&loaded.job.order)) {
                (Some(hold), Some(_)) if hold.left_ms > 0 => {
                    let rest = Duration::from_millis(u64::try_from(hold.left_ms).unwrap_or(1));
                    Step::Refused(Failure::snooze(rest, "not_due", "the hold lasts longer now"))
                }
                (Some(hold), Some(order)) => {
                    let payment = open.iter().rev().find(|(of, _)| *of == order.id);
                    let payment = payment.and_then(|(_, id)| books.payments.get(id));
                    let due = match payment {
                        Some(payment) => due(tx, rules, loaded, (order, hold), payment).await?,
                        None => Due::Over(None),
                    };
                    match due {
                        Due::Ask(ask) => Step::Call(ask),
                        Due::Later(wait) => {
                            let what = "the provider is asked how the payment stands";
                            Step::Refused(Failure::snooze(wait, "asking", what))
                        }
                        Due::Over(unasked) => {
                            over.push(Over { order, epoch: hold.epoch, cause: loaded.cause(), unasked });
                            Step::Done
                        }
                    }
                }
                _ => Step::Done,
            };
            steps.push(step);
        }
        expire(tx, &over).await?;
        Ok(steps)
    }

    /// Retrieve first, then decide.
    async fn call(&self, plan: &Ask, to: &Providers) -> Result<PaymentSeen, Failure> {
        let seen = to.stripe.retrieve(&plan.cancel.provider_id).await?;
        let is_taken = payment_cancel::is_over(seen.status) || seen.status == SeenStatus::RequiresCapture;
        if is_taken || plan.waits(seen.status) {
            Ok(seen)
        } else {
            payment_cancel::cancel_or_look(&plan.cancel, to).await
        }
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let books = payment_cancel::open(tx, back.iter().map(|called| &called.plan.cancel)).await?;
        let mut verdicts = Vec::with_capacity(back.len());
        for called in back {
            let verdict = match books.orders.get(&called.loaded.job.order) {
                Some(order) => answered(tx, rules, &books, called, order).await?,
                None => Verdict::Done,
            };
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    /// The provider gave no answer that helps: the hold is released, and money that comes all the same is late.
    async fn buried(&self, id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        match orders::lock(tx, &[self.order]).await?.get(&self.order) {
            Some(order) => {
                let cause = id.to_string();
                let unasked = Some(Unasked::no_answer(self.epoch, failure.code, &cause));
                expire(tx, &[Over { order, epoch: self.epoch, cause, unasked }]).await
            }
            None => Ok(()),
        }
    }

    fn effect(plan: &Ask) -> Option<&str> {
        Some(&plan.cancel.effect)
    }

    fn proof(plan: &Ask, receipt: &PaymentSeen) -> Option<Proof> {
        payment_cancel::proof(&plan.cancel, receipt)
    }

    fn order(&self) -> Option<OrderId> {
        Some(self.order)
    }
}

/// What is to be done about a hold whose time is over.
enum Due {
    /// A payment of it is open: its provider is asked.
    Ask(Ask),
    /// A payment of it is open, and another job asks: looked at again then.
    Later(Duration),
    /// It ends; with why nobody is asked, where somebody should be.
    Over(Option<Unasked>),
}

/// A hold whose time is over, while a payment of it is open: asked for, until the grace is over. Where the provider does
/// not know the payment yet it just ends: the payment's secret is not handed out any more once the hold is gone.
async fn due(
    tx: &mut Tx,
    rules: &Rules,
    loaded: &Loaded<ReservationExpiry>,
    (order, hold): (&Order, &Held),
    payment: &Payment,
) -> Result<Due, Failure> {
    let grace =
        i64::try_from(rules.orders.settlement_grace_seconds).unwrap_or(i64::MAX).saturating_mul(1_000);
    if handover::begins_here(&payment.provider) {
        return uncancellable(tx, rules, loaded, (hold, grace), payment).await;
    }
    let Some(cancel) = payment_cancel::plan(tx, payment, loaded.id).await? else {
        return Ok(Due::Over(None));
    };
    if hold.closing_ms.is_some_and(|asked_for| asked_for > grace) {
        return Ok(Due::Over(Some(Unasked::no_answer(hold.epoch, "settlement_grace", &loaded.cause()))));
    }
    reservations::mark_closing(tx, order.id).await?;
    let may_settle = rules.orders.settling_seconds > 0 && !hold.is_settling;
    let is_last = hold.longest_left_ms <= 0;
    Ok(Due::Ask(Ask { cancel, may_extend: hold.extensions_left > 0, may_settle, is_last }))
}

/// A hold whose payment nobody can be asked to cancel: its provider is asked how it stands, where that can be, until the
/// grace is over. Then the payment is let go, and the hold ends.
async fn uncancellable(
    tx: &mut Tx,
    rules: &Rules,
    loaded: &Loaded<ReservationExpiry>,
    (hold, grace): (&Held, i64),
    payment: &Payment,
) -> Result<Due, Failure> {
    let can_be_asked = rules.offers.configured(&payment.provider).is_some_and(|known| known.can_be_asked);
    if !can_be_asked || hold.closing_ms.is_some_and(|asked_for| asked_for > grace) {
        payment_cancel::let_go(tx, &[payment.id], &loaded.cause()).await?;
        return Ok(Due::Over(None));
    }
    let wait = if hold.is_closing() { ASK_AGAIN } else { FIRST_ANSWER };
    reservations::mark_closing(tx, loaded.job.order).await?;
    let of = (loaded.job.order, payment.id);
    jobs::insert(tx, vec![PaymentStatus::closing(of, &loaded.cause())]).await?;
    Ok(Due::Later(wait))
}

/// What the provider's answer means for the hold.
async fn answered(
    tx: &mut Tx,
    rules: &Rules,
    books: &Books,
    called: &Called<ReservationExpiry>,
    order: &Order,
) -> Result<Verdict, Failure> {
    let (plan, seen, cause) = (&called.plan, &called.receipt, called.loaded.cause());
    match seen.status {
        SeenStatus::Succeeded => {
            payment_cancel::heard(tx, rules, books, &plan.cancel, seen, &cause).await?;
            Ok(Verdict::Done)
        }
        SeenStatus::Processing | SeenStatus::RequiresCapture if plan.waits(seen.status) => {
            payment_cancel::heard(tx, rules, books, &plan.cancel, seen, &cause).await?;
            if seen.status == SeenStatus::Processing && plan.may_settle {
                let settling = Duration::from_secs(rules.orders.settling_seconds);
                reservations::settling(tx, order.id, settling).await?;
            }
            // The longer it takes, the longer it takes.
            let wait = (called.loaded.age / 8).clamp(ASK_AGAIN, LONGEST_WAIT);
            let lasts = reservations::extend(tx, order.id, wait, false).await?;
            let wait = wait.min(lasts).max(SOONEST);
            Ok(Verdict::Refused(Failure::snooze(wait, "money_on_its_way", plan.cancel.payment)))
        }
        SeenStatus::RequiresAction if plan.waits(seen.status) => {
            payment_cancel::heard(tx, rules, books, &plan.cancel, seen, &cause).await?;
            let time = Duration::from_secs(rules.orders.reservation_seconds);
            reservations::extend(tx, order.id, time, true).await?;
            orders::changed(tx, &[order.id], &cause).await?;
            Ok(Verdict::Refused(Failure::snooze(time, "extended", "the customer is at their bank's page")))
        }
        SeenStatus::Canceled
        | SeenStatus::Processing
        | SeenStatus::RequiresCapture
        | SeenStatus::RequiresAction
        | SeenStatus::RequiresPaymentMethod
        | SeenStatus::RequiresConfirmation
        | SeenStatus::Other => {
            payment_cancel::heard(tx, rules, books, &plan.cancel, seen, &cause).await?;
            if seen.status != SeenStatus::Canceled && !plan.is_last {
                let detail = format!("{} is still open", plan.cancel.payment);
                return Ok(Verdict::Refused(Failure::retry("still_open", detail)));
            }
            if seen.status != SeenStatus::Canceled {
                let detail = format!("the hold ended while {} was still open", plan.cancel.payment);
                exceptions::open(tx, order.id, "released_with_open_payment", Severity::Warning, &detail)
                    .await?;
                cancel_open(tx, order.id, &cause).await?;
            }
            let epoch = called.loaded.job.epoch;
            expire(tx, &[Over { order, epoch, cause, unasked: None }]).await?;
            Ok(Verdict::Done)
        }
    }
}
