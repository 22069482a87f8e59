//! Purchases whose answer nobody has: looked up, whatever became of their order meanwhile.

use std::time::Duration;

use super::{Ask, Recipe, ShippingLabel};
use crate::job::{Failure, Step, Verdict};
use crate::jobs::Loaded;
use crate::store::effects::{self, EffectState};
use crate::store::orders::Order;
use crate::store::{Tx, shipments};

/// How long a purchase that was sent may still be carried out: we wait for its answer for 15 s at most, and gateways give
/// up within a minute. Found by the storm: of a worker that was killed as its order was cancelled, a label was bought two
/// seconds later, and nobody knew of it.
const ON_THE_WAY: Duration = Duration::from_mins(1);
/// Between two looks meanwhile: what arrives, arrives in seconds.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// An order that is labelled, shipped or over has nothing to buy; but a purchase that was sent and whose answer nobody
/// has is looked up all the same.
pub(super) async fn look(
    tx: &mut Tx,
    loaded: &Loaded<ShippingLabel>,
    order: Order,
) -> Result<Step<Recipe>, Failure> {
    let job = &loaded.job;
    let name = job.key();
    // A parcel that is merely known over there costs nothing: whether it is, nobody has to find out any more.
    effects::mark(tx, &format!("{name}:create"), EffectState::Failed).await?;
    let effect = format!("{name}:buy");
    if !effects::unresolved(tx, std::slice::from_ref(&effect)).await?.contains(&effect) {
        // Never sent, or settled, which stays as it is.
        effects::mark(tx, &effect, EffectState::Failed).await?;
        return Ok(Step::Done);
    }
    // It was made before the purchase was sent: template and weight are those of then.
    let shipment = shipments::ensure(tx, order.id, (job.parcel, job.epoch), "", 1).await?;
    Ok(shipment.provider_id.clone().map_or(Step::Done, |provider_id| {
        let step = Ask::Look { effect, shipment: provider_id };
        Step::Call(Recipe { shipment, order: Box::new(order), step })
    }))
}

/// A look-up found no label. Where it is still wanted the same shipment is bought again, and of two purchases the broker
/// refuses one. Where it is not, a worker that died may have left its purchase on the way: until that can no longer arrive,
/// no label proves nothing.
pub(super) async fn not_bought(
    tx: &mut Tx,
    job: &ShippingLabel,
    effect: &str,
    is_wanted: bool,
) -> Result<Verdict, Failure> {
    if is_wanted {
        effects::renew_key(tx, effect).await?;
        return Ok(Verdict::Again);
    }
    if let Some(rest) = ON_THE_WAY.checked_sub(effects::sent_ago(tx, effect).await?) {
        let wait = rest.clamp(Duration::from_secs(1), LOOK_AGAIN);
        return Ok(Verdict::Refused(Failure::snooze(wait, "may_be_bought_yet", job.key())));
    }
    effects::mark(tx, effect, EffectState::Failed).await?;
    Ok(Verdict::Done)
}
