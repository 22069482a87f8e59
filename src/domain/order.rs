//! An order's status: sixteen states, and the moves between them that are legal.
//!
//! The database refuses every other move (`legal_transitions` is a foreign key of `order_events`); the table here is the
//! same one for code that has to decide before it writes. A test holds the two against each other.

use std::fmt;

mod permission;
mod reason;
pub mod search;
mod standing;
mod vocabulary;

pub use reason::CancelReason;
pub use standing::{FulfilmentStatus, PaymentStatus};
pub use vocabulary::Vocabulary;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Stock is held, money is awaited.
    PendingPayment,
    /// Money is settled.
    PaymentConfirmed,
    /// The merchant has accepted it.
    Confirmed,
    /// Somebody works on it.
    Processing,
    /// It is being made.
    InProduction,
    /// It is being checked.
    QualityCheck,
    /// It is being packed.
    Packaging,
    /// It is packed and has its label.
    Fulfilled,
    /// The carrier has it.
    Shipped,
    /// It is on the van.
    OutForDelivery,
    /// The customer has it.
    Delivered,
    /// Nothing more will happen.
    Completed,
    /// A person holds it.
    OnHold,
    /// Something went wrong that a person must see.
    Exception,
    /// It will not be fulfilled.
    Cancelled,
    /// All its money went back.
    Refunded,
}

impl Status {
    /// Every state.
    pub const ALL: [Self; 16] = [
        Self::PendingPayment,
        Self::PaymentConfirmed,
        Self::Confirmed,
        Self::Processing,
        Self::InProduction,
        Self::QualityCheck,
        Self::Packaging,
        Self::Fulfilled,
        Self::Shipped,
        Self::OutForDelivery,
        Self::Delivered,
        Self::Completed,
        Self::OnHold,
        Self::Exception,
        Self::Cancelled,
        Self::Refunded,
    ];

    /// Its stored name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PendingPayment => "pending_payment",
            Self::PaymentConfirmed => "payment_confirmed",
            Self::Confirmed => "confirmed",
            Self::Processing => "processing",
            Self::InProduction => "in_production",
            Self::QualityCheck => "quality_check",
            Self::Packaging => "packaging",
            Self::Fulfilled => "fulfilled",
            Self::Shipped => "shipped",
            Self::OutForDelivery => "out_for_delivery",
            Self::Delivered => "delivered",
            Self::Completed => "completed",
            Self::OnHold => "on_hold",
            Self::Exception => "exception",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }

    /// The state of a stored name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether an order may go from here to `to`.
    #[must_use]
    pub fn may_become(self, to: Self) -> bool {
        use Status as S;
        let targets: &[S] = match self {
            S::PendingPayment => &[S::PaymentConfirmed, S::OnHold, S::Exception, S::Cancelled],
            S::PaymentConfirmed => {
                &[S::Confirmed, S::Processing, S::OnHold, S::Exception, S::Cancelled, S::Refunded]
            }
            S::Confirmed => &[S::Processing, S::OnHold, S::Exception, S::Cancelled, S::Refunded],
            S::Processing => &[
                S::InProduction,
                S::QualityCheck,
                S::Packaging,
                S::OnHold,
                S::Exception,
                S::Cancelled,
                S::Refunded,
            ],
            S::InProduction => &[S::QualityCheck, S::OnHold, S::Exception, S::Cancelled, S::Refunded],
            S::QualityCheck => {
                &[S::Packaging, S::InProduction, S::OnHold, S::Exception, S::Cancelled, S::Refunded]
            }
            S::Packaging => &[S::Fulfilled, S::Shipped, S::OnHold, S::Exception, S::Cancelled, S::Refunded],
            S::Fulfilled => &[S::Shipped, S::OnHold, S::Exception, S::Cancelled, S::Refunded],
            S::Shipped => &[S::OutForDelivery, S::Delivered, S::Exception, S::Refunded],
            S::OutForDelivery => &[S::Delivered, S::Shipped, S::Exception, S::Refunded],
            S::Delivered => &[S::Completed, S::Exception, S::Refunded],
            S::Completed | S::Cancelled => &[S::Refunded],
            S::OnHold => {
                return to.before_the_hand_over() || matches!(to, S::Exception | S::Cancelled | S::Refunded);
            }
            S::Exception => {
                return to.before_the_hand_over()
                    || matches!(
                        to,
                        S::Shipped
                            | S::OutForDelivery
                            | S::Delivered
                            | S::OnHold
                            | S::Cancelled
                            | S::Refunded
                    );
            }
            S::Refunded => &[],
        };
        targets.contains(&to)
    }

    /// Whether the goods are still in the house and the order is under way.
    #[must_use]
    pub const fn before_the_hand_over(self) -> bool {
        match self {
            Self::PendingPayment
            | Self::PaymentConfirmed
            | Self::Confirmed
            | Self::Processing
            | Self::InProduction
            | Self::QualityCheck
            | Self::Packaging
            | Self::Fulfilled => true,
            Self::Shipped
            | Self::OutForDelivery
            | Self::Delivered
            | Self::Completed
            | Self::OnHold
            | Self::Exception
            | Self::Cancelled
            | Self::Refunded => false,
        }
    }

    /// Whether the order waits in a side state and will resume another.
    #[must_use]
    pub const fn is_aside(self) -> bool {
        matches!(self, Self::OnHold | Self::Exception)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::named(status.name()), Some(status));
        }
    }

    #[test]
    fn nothing_leaves_refunded_and_nothing_revives_cancelled() {
        for to in Status::ALL {
            assert!(!Status::Refunded.may_become(to));
            assert_eq!(Status::Cancelled.may_become(to), to == Status::Refunded);
        }
    }
}
