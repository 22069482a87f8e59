//! What carriers would charge: two carriers, prices by weight, the same at every run.
//!
//! Reckoned in whole cents; EasyPost writes money as a string in currency units.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::sandbox::world::fresh_id;

/// A carrier's service: where it goes, how long it takes, a base price and a price for each ounce, in cents.
struct Service {
    carrier: &'static str,
    name: &'static str,
    abroad: bool,
    days: u32,
    base: u64,
    ounce: u64,
}

const fn service(route: (&'static str, &'static str, bool), days: u32, base: u64, ounce: u64) -> Service {
    Service { carrier: route.0, name: route.1, abroad: route.2, days, base, ounce }
}

const SERVICES: &[Service] = &[
    service(("USPS", "GroundAdvantage", false), 4, 449, 10),
    service(("USPS", "Priority", false), 2, 662, 5),
    service(("USPS", "Express", false), 1, 2935, 30),
    service(("UPS", "Ground", false), 3, 895, 8),
    service(("UPS", "NextDayAir", false), 1, 4210, 45),
    service(("USPS", "FirstClassPackageInternationalService", true), 14, 1490, 60),
    service(("USPS", "PriorityMailInternational", true), 8, 3675, 95),
    service(("UPS", "Expedited", true), 5, 6280, 110),
    service(("UPS", "UPSSaver", true), 3, 7450, 140),
];

/// One offer for one shipment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rate {
    /// `rate_…`.
    pub(crate) id: String,
    /// The carrier's name.
    pub(crate) carrier: String,
    /// The service's name.
    pub(crate) service: String,
    /// In cents.
    pub(crate) cents: u64,
    /// Days on the way.
    pub(crate) days: u32,
    /// When it was offered, as EasyPost writes it.
    pub(crate) at: String,
}

/// Every offer for a parcel of `ounces`, within the country or abroad.
pub(super) fn offers(ounces: u64, abroad: bool, at: &str) -> Vec<Rate> {
    SERVICES
        .iter()
        .filter(|service| service.abroad == abroad)
        .map(|service| Rate {
            id: fresh_id("rate_"),
            carrier: service.carrier.to_owned(),
            service: service.name.to_owned(),
            cents: service.base + service.ounce * ounces,
            days: service.days,
            at: at.to_owned(),
        })
        .collect()
}

/// Cents as EasyPost writes them.
pub(super) fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

impl Rate {
    /// As EasyPost shows it.
    pub(super) fn body(&self, shipment: &str) -> Value {
        json!({
            "id": self.id, "object": "Rate", "mode": "test", "created_at": self.at, "updated_at": self.at,
            "service": self.service, "carrier": self.carrier,
            "rate": money(self.cents), "currency": "USD",
            "list_rate": money(self.cents), "list_currency": "USD",
            "retail_rate": money(self.cents + self.cents / 4), "retail_currency": "USD",
            "billing_type": "easypost", "delivery_days": self.days, "est_delivery_days": self.days,
            "delivery_date": null, "delivery_date_guaranteed": false,
            "shipment_id": shipment, "carrier_account_id": format!("ca_sandbox_{}", self.carrier.to_lowercase()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_carriers_offer_at_home_and_abroad_and_weight_costs() {
        for abroad in [false, true] {
            let (light, heavy) = (offers(1, abroad, ""), offers(100, abroad, ""));
            let mut carriers: Vec<_> = light.iter().map(|rate| &rate.carrier).collect();
            carriers.dedup();
            assert!(light.len() >= 3 && carriers.len() == 2);
            assert!(light.iter().zip(&heavy).all(|(light, heavy)| light.cents < heavy.cents));
        }
        assert_eq!(money(607), "6.07");
        assert_eq!(money(5), "0.05");
    }
}
