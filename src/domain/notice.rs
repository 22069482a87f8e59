//! Which event tells whom what, and the key under which it is told once.

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

macro_rules! notices {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A kind of mail.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Notice {
            $($(#[$doc])* $variant,)*
        }

        impl Notice {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its stored name; its wording stands in `config/emails/{language}/{name}.txt`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The kind of a stored name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|notice| notice.name() == name)
            }
        }
    };
}

notices! {
    /// The wish became an order, and can be paid; for shops that want that told.
    OrderReceived = "order_received",
    /// The order is paid.
    OrderConfirmation = "order_confirmation",
    /// A payment came in; for shops that want that told beside the order's confirmation.
    PaymentConfirmation = "payment_confirmation",
    /// An attempt to pay did not go through.
    PaymentFailed = "payment_failed",
    /// The hold is over, the order can still be paid.
    ReservationExpired = "reservation_expired",
    /// Somebody in the house is at work on it; for shops that want that told.
    ProcessingUpdate = "processing_update",
    /// The parcel is on its way.
    ShippingNotification = "shipping_notification",
    /// The parcel comes today.
    OutForDelivery = "out_for_delivery",
    /// The customer has the parcel.
    DeliveryConfirmation = "delivery_confirmation",
    /// Something went wrong that the customer must know.
    DelayOrException = "delay_or_exception",
    /// The order will not be fulfilled.
    Cancellation = "cancellation",
    /// Money went back.
    RefundConfirmation = "refund_confirmation",
    /// Some days after the parcel: how was it? For shops that want to ask.
    SatisfactionSurvey = "satisfaction_survey",
    /// What a person wrote.
    Manual = "manual",
    /// What the people on call must know.
    OpsAlert = "ops_alert",
}

/// What a notice is told once for.
#[derive(Clone, Copy, Debug)]
pub enum Once<'a> {
    /// Once for an order.
    Order(Uuid),
    /// Once for each hold of an order.
    Hold(Uuid, i32),
    /// Once for a payment.
    Payment(Uuid),
    /// Once for an attempt to pay, by the provider's name of it.
    Attempt(Uuid, &'a str),
    /// Once for each version of an order: what is said of one of its moves.
    Move(Uuid, i64),
    /// Once for a parcel.
    Shipment(Uuid),
    /// Once for each status of a parcel.
    ShipmentStatus(Uuid, &'a str),
    /// Once for an exception.
    Exception(Uuid),
    /// Once for money that went back.
    Refund(Uuid),
    /// Once for a request, by the name that whoever made it gave it.
    Request(&'a str),
    /// Once for what a rule found since then.
    Alert(&'a str, DateTime<Utc>),
}

impl Once<'_> {
    /// The stored key.
    #[must_use]
    pub fn key(self) -> String {
        match self {
            Self::Order(id) => format!("order:{id}"),
            Self::Hold(id, epoch) => format!("order:{id}:hold:{epoch}"),
            Self::Payment(id) => format!("payment:{id}"),
            Self::Attempt(id, attempt) => format!("payment:{id}:attempt:{attempt}"),
            Self::Move(id, version) => format!("order:{id}:version:{version}"),
            Self::Shipment(id) => format!("shipment:{id}"),
            Self::ShipmentStatus(id, status) => format!("shipment:{id}:{status}"),
            Self::Exception(id) => format!("exception:{id}"),
            Self::Refund(id) => format!("refund:{id}"),
            Self::Request(name) => format!("request:{name}"),
            Self::Alert(rule, since) => {
                format!("rule:{rule}:{}", since.to_rfc3339_opts(SecondsFormat::Micros, true))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_no_two_keys_meet() {
        for notice in Notice::ALL {
            assert_eq!(Notice::named(notice.name()), Some(*notice));
        }
        let id = Uuid::from_u128(1);
        let keys = [
            Once::Order(id),
            Once::Hold(id, 1),
            Once::Payment(id),
            Once::Attempt(id, "evt_1"),
            Once::Attempt(id, "evt_2"),
            Once::Move(id, 1),
            Once::Shipment(id),
            Once::ShipmentStatus(id, "delivered"),
            Once::Exception(id),
            Once::Refund(id),
            Once::Request("monday"),
            Once::Alert("monday", DateTime::UNIX_EPOCH),
        ];
        let different: std::collections::BTreeSet<String> = keys.map(Once::key).into();
        assert_eq!(different.len(), keys.len());
    }
}
