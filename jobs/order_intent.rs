//! Accepts orders: prices a slice of intents, holds stock for them in the order in which they came, and answers each.
//!
//! Everything happens in one transaction over the slice, because a hot SKU takes one commit at a time: many orders in
//! one commit is the only way past that. Stock is locked as late as can be: slices that wait for each other do so with
//! all their reading done; but before intents and orders are written, because stock decides what is written. What
//! another slice has decided since, the same intent or the same cart, meets the insert of the intent or of the order:
//! the slice is loaded again then, and reads it.
//! Coupons, which are as scarce, are locked right after it.
//!
//! What can not be had as it was wished is rejected with its reasons: an article that is short (unless the caller takes
//! what is there), a total that the customer was not shown, a coupon that is not to be used. Nobody is charged more than
//! they saw.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::handover::{self, Handed};
use super::payment_open::PaymentOpen;
use super::reservation_expiry::ReservationExpiry;
use super::{Called, Job, Loaded, Never, Rules, settlement};
use crate::domain::coupon::{self, Coupon};
use crate::domain::intent::{AcceptedIntent, Line, OrderIntentBody};
use crate::domain::offer::CASH_ON_DELIVERY;
use crate::domain::pricing::{self, Article, Priced, Reason, Wanted};
use crate::domain::priority::Priority;
use crate::domain::stock::{self as goods, Left};
use crate::ids::{IntentId, JobId, OrderId};
use crate::job::{Failure, Lane, Limits, NewJob, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::store::catalogue::{self, Wanted as Place};
use crate::store::coupons::{self, Use};
use crate::store::intents::{self, Outcome};
use crate::store::orders::{self, NewOrder};
use crate::store::reservations::{self, End, HoldFor, NewHold};
use crate::store::stock::{self, Level};
use crate::store::{Tx, jobs};
use crate::telemetry::TraceContext;

/// A wish to buy, as the intake took it in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderIntent(pub AcceptedIntent);

impl Payload for OrderIntent {
    const KIND: &'static str = "order-intent";
    const LANE: Lane = Lane::Intents;
    const LIMITS: Limits = Limits {
        // Nothing outside is asked: what fails five times fails for a reason that a person has to see.
        attempts: 5,
        deadline: Duration::from_secs(15),
        // A buyer who was not answered in half an hour has gone.
        max_age: Duration::from_mins(30),
        slice: 256,
        settle: 256,
        calls: 1,
    };

    fn subject(&self) -> Uuid {
        self.0.intent_id.uuid()
    }
}

impl Job for OrderIntent {
    type Plan = Never;
    type Receipt = Never;

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Step<Never>>, Failure> {
        let intents: Vec<&AcceptedIntent> = jobs.iter().map(|loaded| &loaded.job.0).collect();
        let fresh = undecided(tx, intents).await?;
        let mut desk = Desk::open(tx, &fresh).await?;
        let mut levels = stock::lock(tx, &skus(&fresh)).await?;
        desk.coupons = coupons::lock(tx, &codes(&fresh)).await?;
        let decided: Vec<Decided<'_>> =
            fresh.iter().map(|intent| desk.decide(rules, intent, &mut levels)).collect();
        let traces = jobs.iter().filter_map(|loaded| Some((loaded.job.0.intent_id, loaded.trace?))).collect();
        write(tx, rules, &decided, &traces).await?;
        tell_sold_out(tx, &levels, &held_of(&decided));
        Ok(jobs.iter().map(|_| Step::Done).collect())
    }

    async fn call(&self, plan: &Never, _to: &Providers) -> Result<Never, Failure> {
        match *plan {}
    }

    async fn settle(_back: &[Called<Self>], _tx: &mut Tx, _rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        Ok(Vec::new())
    }

    /// Its client is told that it failed, and whether a new key helps.
    async fn buried(&self, _id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        let known = intents::decided(tx, &[self.0.intent_id]).await?;
        if known.is_empty() {
            let details = serde_json::json!([{ "code": failure.code, "detail": "the order could not be worked on; \
                nothing was charged; the same wish under a new key may succeed", "retryable": true }]);
            intents::decide(tx, vec![(&self.0, Outcome::Failed("not_processed", details))]).await?;
        }
        Ok(())
    }

    /// The answer `failed` is taken back: the wish is decided after all.
    async fn replayed(jobs: &[Loaded<Self>], tx: &mut Tx) -> Result<(), Failure> {
        let ids: Vec<IntentId> = jobs.iter().map(|loaded| loaded.job.0.intent_id).collect();
        Ok(intents::take_back(tx, &ids).await?)
    }
}

fn skus(intents: &[&AcceptedIntent]) -> BTreeSet<String> {
    intents.iter().flat_map(|intent| intent.body.lines.iter().map(|line| line.sku.clone())).collect()
}

fn codes(intents: &[&AcceptedIntent]) -> BTreeSet<String> {
    intents.iter().filter_map(|intent| intent.body.discount_code.as_deref()).map(coupon::written).collect()
}

/// Those without an outcome. The others' public states are written again: Redis may have lost them.
async fn undecided<'a>(
    tx: &mut Tx,
    intents: Vec<&'a AcceptedIntent>,
) -> Result<Vec<&'a AcceptedIntent>, Failure> {
    let ids: Vec<IntentId> = intents.iter().map(|intent| intent.intent_id).collect();
    let decided = intents::decided(tx, &ids).await?;
    for intent in &decided {
        tx.touch(*intent);
    }
    Ok(intents.into_iter().filter(|intent| !decided.contains(&intent.intent_id)).collect())
}

/// What became of one intent.
struct Decided<'a> {
    intent: &'a AcceptedIntent,
    became: Result<Accepted, Vec<Reason>>,
}

/// An order that can be made.
struct Accepted {
    id: OrderId,
    priced: Priced,
    priority: Priority,
    /// What was wanted and is not in it.
    short: Vec<Reason>,
}

/// All that the slice is judged by.
struct Desk {
    articles: HashMap<Place, Article>,
    shipping: HashMap<Place, i64>,
    carts: HashMap<(String, String), IntentId>,
    /// Locked after stock.
    coupons: HashMap<String, Coupon>,
}

impl Desk {
    async fn open(tx: &mut Tx, intents: &[&AcceptedIntent]) -> Result<Self, Failure> {
        let mut articles = BTreeSet::new();
        let mut methods = BTreeSet::new();
        let mut carts = HashSet::new();
        for intent in intents {
            let body = &intent.body;
            let country = &body.shipping_address.country;
            articles.extend(
                body.lines.iter().map(|line| (line.sku.clone(), body.currency.clone(), country.clone())),
            );
            methods.insert((body.shipping_method.clone(), country.clone(), body.currency.clone()));
            carts.insert((intent.tenant.clone(), body.cart_id.clone()));
        }
        let carts: Vec<_> = carts.into_iter().collect();
        Ok(Self {
            articles: catalogue::articles(tx, &articles).await?,
            shipping: catalogue::shipping(tx, &methods).await?,
            carts: orders::open_carts(tx, &carts).await?,
            coupons: HashMap::new(),
        })
    }

    /// Decides one intent, and takes its pieces out of `levels` and its coupon's use: first come, first served.
    fn decide<'a>(
        &mut self,
        rules: &Rules,
        intent: &'a AcceptedIntent,
        levels: &mut BTreeMap<String, Level>,
    ) -> Decided<'a> {
        let became = self.judge(rules, intent, levels);
        if let Ok(Accepted { priced, .. }) = &became {
            for (sku, pieces) in &priced.quantities {
                if let Some(level) = levels.get_mut(sku) {
                    level.reserved = level.reserved.saturating_add(*pieces);
                }
            }
            if let Some(coupon) = priced.coupon.as_ref().and_then(|code| self.coupons.get_mut(code)) {
                coupon.uses_left = coupon.uses_left.map(|left| left.saturating_sub(1));
            }
            self.carts.insert((intent.tenant.clone(), intent.body.cart_id.clone()), intent.intent_id);
        }
        Decided { intent, became }
    }

    fn judge(
        &self,
        rules: &Rules,
        intent: &AcceptedIntent,
        levels: &BTreeMap<String, Level>,
    ) -> Result<Accepted, Vec<Reason>> {
        let body = &intent.body;
        if let Some(other) = self.carts.get(&(intent.tenant.clone(), body.cart_id.clone())) {
            let detail = format!("the cart has an open order already, of intent {other}");
            return Err(vec![Reason::new("duplicate_of", None, detail)]);
        }
        let (priced, short) = self.priced(body, levels)?;
        let total = (priced.total_minor, body.currency.as_str());
        let takes = rules.offers.takes(&body.payment_provider, total);
        takes.map_err(|(code, detail)| vec![Reason::new(code, None, detail)])?;
        let priority = Priority::named(&body.priority)
            .ok_or_else(|| vec![Reason::new("unknown_priority", None, "no such priority")])?;
        Ok(Accepted { id: OrderId::new(), priced, priority, short })
    }

    /// What the wish costs, with what it does not get. Where something is short, all of it is refused, or, if the caller
    /// wants that, what is there is priced alone.
    fn priced(
        &self,
        body: &OrderIntentBody,
        levels: &BTreeMap<String, Level>,
    ) -> Result<(Priced, Vec<Reason>), Vec<Reason>> {
        let whole = self.price(body, &body.lines)?;
        let short = shortages(&whole, levels);
        let priced = if short.is_empty() {
            whole
        } else {
            let lines = goods::had(&body.lines, |sku| levels.get(sku).map_or(0, Level::available));
            if lines.is_empty() || !body.takes_what_is_there() {
                return Err(short);
            }
            self.price(body, &lines).map_err(|reasons| [reasons, short.clone()].concat())?
        };
        match pricing::as_shown(body, &priced) {
            Ok(()) => Ok((priced, short)),
            Err(reason) => Err([vec![reason], short].concat()),
        }
    }

    fn price(&self, body: &OrderIntentBody, lines: &[Line]) -> Result<Priced, Vec<Reason>> {
        let country = &body.shipping_address.country;
        let articles: HashMap<String, Article> = lines
            .iter()
            .filter_map(|line| {
                let key = (line.sku.clone(), body.currency.clone(), country.clone());
                Some((line.sku.clone(), self.articles.get(&key)?.clone()))
            })
            .collect();
        let method = (body.shipping_method.clone(), country.clone(), body.currency.clone());
        let shipping_minor = self.shipping.get(&method).copied();
        let coupon = body.discount_code.as_deref().map(|code| self.coupon(code)).transpose();
        pricing::price(Wanted { body, lines, shipping_minor, coupon }, &articles)
    }

    fn coupon(&self, code: &str) -> Result<&Coupon, Reason> {
        let known = self.coupons.get(&coupon::written(code));
        known.ok_or_else(|| Reason::new("unknown_coupon", None, "the shop has no such coupon"))?.usable()
    }
}

/// The articles that this slice holds pieces of.
fn held_of<'a>(decided: &'a [Decided<'_>]) -> HashSet<&'a String> {
    decided
        .iter()
        .filter_map(|one| one.became.as_ref().ok())
        .flat_map(|accepted| accepted.priced.quantities.keys())
        .collect()
}

/// Tells the door which articles are sold out, those too that were before: it may have forgotten.
fn tell_sold_out(tx: &mut Tx, levels: &BTreeMap<String, Level>, held: &HashSet<&String>) {
    for (sku, level) in levels.iter().filter(|(_, level)| level.available() <= 0) {
        // Its row is written once for the slice, where anything of it is held.
        let version = level.version.saturating_add(i64::from(held.contains(sku)));
        tx.ran_out(Left { sku: sku.clone(), version, available: level.available() });
    }
}

/// The articles of which there is not enough.
fn shortages(priced: &Priced, levels: &BTreeMap<String, Level>) -> Vec<Reason> {
    let available = |sku: &str| levels.get(sku).map_or(0, Level::available).max(0);
    priced
        .quantities
        .iter()
        .filter(|(sku, pieces)| available(sku) < **pieces)
        .map(|(sku, pieces)| Reason {
            requested: Some(*pieces),
            available: Some(available(sku)),
            ..Reason::new("insufficient_stock", Some(sku), "there is not enough of it")
        })
        .collect()
}

/// Writes the whole slice: one statement a table.
async fn write(
    tx: &mut Tx,
    rules: &Rules,
    decided: &[Decided<'_>],
    traces: &HashMap<IntentId, TraceContext>,
) -> Result<(), Failure> {
    let mut made = Vec::new();
    let mut outcomes = Vec::new();
    for one in decided {
        match &one.became {
            Ok(Accepted { id, priced, priority, short }) => {
                let trace = traces.get(&one.intent.intent_id).copied();
                // The job has its intent's id.
                tx.about(JobId::from(one.intent.intent_id.uuid()), *id);
                made.push(NewOrder { id: *id, intent: one.intent, priced, priority: *priority, trace });
                let short = (!short.is_empty()).then(|| lines(short));
                outcomes.push((one.intent, Outcome::Accepted(*id, short)));
            }
            Err(reasons) => outcomes.push((one.intent, Outcome::Rejected(leading(reasons), lines(reasons)))),
        }
    }
    intents::decide(tx, outcomes).await?;
    if made.is_empty() {
        return Ok(());
    }
    let payable_for = Duration::from_secs(rules.orders.order_ttl_seconds);
    orders::insert(tx, &made, payable_for, "order-intent").await?;
    let holds: Vec<NewHold> = made.iter().flat_map(holds_of).collect();
    let time = HoldFor::from(&rules.orders);
    reservations::hold(tx, &holds, time).await?;
    let uses: Vec<Use> = made.iter().filter_map(use_of).collect();
    coupons::take(tx, &uses).await?;
    let begun: Vec<Handed<'_>> = made.iter().filter_map(handed).collect();
    handover::begin(tx, (&rules.orders, &rules.offers), &begun, "order-intent").await?;
    let (unpaid, due): (Vec<_>, Vec<_>) = made.iter().partition(|order| goes_on_unpaid(order));
    let next = due.into_iter().flat_map(|order| next_jobs(order, time.first)).collect();
    jobs::insert(tx, next).await?;
    go_on(tx, rules, &unpaid).await
}

/// Whether an order waits for no money: it costs nothing, or is paid at the door.
fn goes_on_unpaid(order: &NewOrder<'_>) -> bool {
    order.priced.total_minor == 0 || order.intent.body.payment_provider == CASH_ON_DELIVERY
}

/// The payment of an order that begins without a call.
fn handed<'a>(order: &'a NewOrder<'_>) -> Option<Handed<'a>> {
    let body = &order.intent.body;
    let amount = (order.priced.total_minor, body.currency.as_str());
    (amount.0 > 0 && handover::begins_here(&body.payment_provider)).then(|| Handed {
        order: order.id,
        attempt: 1,
        provider: &body.payment_provider,
        amount,
    })
}

/// Orders that wait for no money go on at once.
async fn go_on(tx: &mut Tx, rules: &Rules, unpaid: &[&NewOrder<'_>]) -> Result<(), Failure> {
    let ids: Vec<OrderId> = unpaid.iter().map(|order| order.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    reservations::end(tx, &ids, End::Committed).await?;
    for order in orders::lock(tx, &ids).await?.values() {
        settlement::paid(tx, rules, order, "order-intent").await?;
    }
    Ok(())
}

fn holds_of(order: &NewOrder<'_>) -> Vec<NewHold> {
    let held = |(sku, pieces): (&String, &i64)| NewHold {
        order: order.id,
        sku: sku.clone(),
        quantity: *pieces,
        epoch: 1,
    };
    order.priced.quantities.iter().map(held).collect()
}

fn use_of(order: &NewOrder<'_>) -> Option<Use> {
    let code = order.priced.coupon.clone()?;
    Some(Use { order: order.id, code, discount_minor: order.priced.discount_minor })
}

fn next_jobs(order: &NewOrder<'_>, held_for: Duration) -> impl Iterator<Item = NewJob> + use<> {
    let cause = order.intent.intent_id;
    let is_asked = !handover::begins_here(&order.intent.body.payment_provider);
    let open = is_asked.then(|| NewJob::of(&PaymentOpen { order: order.id, attempt: 1 }, cause));
    let expiry = ReservationExpiry { order: order.id, epoch: 1 }.at_the_end(held_for, cause);
    let trace = order.trace;
    open.into_iter().chain([expiry]).map(move |job| job.in_trace(trace))
}

/// The code that the client is answered with: the first reason's.
fn leading(reasons: &[Reason]) -> &'static str {
    reasons.first().map_or("rejected", |reason| reason.code)
}

fn lines(reasons: &[Reason]) -> Value {
    serde_json::to_value(reasons).unwrap_or_default()
}
