//! Which event tells whom what, and the key under which it is told once.

use uuid::Uuid;

/// A kind of mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// The order is paid.
    OrderConfirmation,
    /// The parcel is on its way.
    ShippingNotification,
    /// The hold is over, the order can still be paid.
    ReservationExpired,
    /// The customer has the parcel.
    DeliveryConfirmation,
    /// Something went wrong that the customer must know.
    DelayOrException,
    /// The order will not be fulfilled.
    Cancellation,
    /// Money went back.
    RefundConfirmation,
}

impl Notice {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::OrderConfirmation,
        Self::ShippingNotification,
        Self::ReservationExpired,
        Self::DeliveryConfirmation,
        Self::DelayOrException,
        Self::Cancellation,
        Self::RefundConfirmation,
    ];

    /// Its stored name; its wording stands in `config/emails/{name}.txt`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrderConfirmation => "order_confirmation",
            Self::ShippingNotification => "shipping_notification",
            Self::ReservationExpired => "reservation_expired",
            Self::DeliveryConfirmation => "delivery_confirmation",
            Self::DelayOrException => "delay_or_exception",
            Self::Cancellation => "cancellation",
            Self::RefundConfirmation => "refund_confirmation",
        }
    }
}

/// What a notice is told once for.
#[derive(Clone, Copy, Debug)]
pub enum Once {
    /// Once for an order.
    Order(Uuid),
    /// Once for each hold of an order.
    Hold(Uuid, i32),
    /// Once for a parcel.
    Shipment(Uuid),
    /// Once for an exception.
    Exception(Uuid),
    /// Once for money that went back.
    Refund(Uuid),
}

impl Once {
    /// The stored key.
    #[must_use]
    pub fn key(self) -> String {
        match self {
            Self::Order(id) => format!("order:{id}"),
            Self::Hold(id, epoch) => format!("order:{id}:hold:{epoch}"),
            Self::Shipment(id) => format!("shipment:{id}"),
            Self::Exception(id) => format!("exception:{id}"),
            Self::Refund(id) => format!("refund:{id}"),
        }
    }
}
