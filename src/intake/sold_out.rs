//! What is sold out, as this process last heard: whoever wants it is told so at the door, and costs nobody anything.
//!
//! It may refuse early and never confirm. A holder of an intent is not refused: the push looks the key up first. Not
//! knowing (Redis is away, nobody compared lately) opens the door, and the worker judges.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::domain::intent::OrderIntentBody;
use crate::ids::jitter;
use crate::queue::Queue;

/// Between two looks: a herd that comes in a second meets a closed door for most of it, and one look costs Redis
/// microseconds.
const EVERY: Duration = Duration::from_millis(200);

/// The articles; clones share them.
#[derive(Clone, Default)]
pub(super) struct SoldOut(Arc<RwLock<HashSet<String>>>);

impl SoldOut {
    /// The sold-out articles that stand in the way of a wish; none do while something of one is there that takes what
    /// there is.
    pub(super) fn wanted(&self, body: &OrderIntentBody) -> Vec<String> {
        let out = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if out.is_empty()
            || (body.takes_what_is_there() && body.lines.iter().any(|line| !out.contains(&line.sku)))
        {
            return Vec::new();
        }
        body.lines.iter().filter(|line| out.contains(&line.sku)).map(|line| line.sku.clone()).collect()
    }

    /// Looks until `stop`.
    pub(super) async fn refresh(self, queue: Queue, stop: CancellationToken) {
        loop {
            let out = queue.sold_out().await.unwrap_or_else(|error| {
                debug!(%error, "what is sold out is not known: the door is open");
                Vec::new()
            });
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = out.into_iter().collect();
            let pause = EVERY.mul_f64(1.0 - jitter() / 10.0);
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_that_takes_what_is_there_is_refused_only_where_nothing_is() {
        let gate = SoldOut::default();
        *gate.0.write().unwrap() = HashSet::from(["A".to_owned(), "B".to_owned()]);
        let wanted = |skus: &[&str], on_shortage: &str| {
            let lines: Vec<_> =
                skus.iter().map(|sku| serde_json::json!({"sku": sku, "quantity": 1})).collect();
            let body = serde_json::json!({
                "cart_id": "c", "customer": {"email": "a@b", "name": "A"}, "currency": "USD", "lines": lines,
                "shipping_address": {"name": "A", "address_line1": "1", "city": "K", "country": "NP"},
                "on_shortage": on_shortage,
            });
            gate.wanted(&serde_json::from_value(body).unwrap())
        };
        assert_eq!(wanted(&["A", "C"], "reject_all"), ["A"]);
        assert!(wanted(&["A", "C"], "accept_available").is_empty());
        assert_eq!(wanted(&["A", "B"], "accept_available"), ["A", "B"]);
    }
}
