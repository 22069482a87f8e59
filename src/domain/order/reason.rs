//! Why an order is called off.

use crate::auth::Role;

/// Why an order is called off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelReason {
    /// Its buyer no longer wants it.
    Customer,
    /// Staff decided so.
    Admin,
    /// No payment worked.
    PaymentFailed,
    /// Nobody paid in time.
    Expired,
    /// The pieces are gone.
    OutOfStock,
    /// It is not what it seems.
    Fraud,
    /// It was placed twice.
    Duplicate,
}

impl CancelReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Customer,
        Self::Admin,
        Self::PaymentFailed,
        Self::Expired,
        Self::OutOfStock,
        Self::Fraud,
        Self::Duplicate,
    ];

    /// Its stored name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Admin => "admin",
            Self::PaymentFailed => "payment_failed",
            Self::Expired => "expired",
            Self::OutOfStock => "out_of_stock",
            Self::Fraud => "fraud",
            Self::Duplicate => "duplicate",
        }
    }

    /// The reason of a stored name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// The reason where nobody gave one.
    #[must_use]
    pub const fn usual(role: Role) -> Self {
        if matches!(role, Role::Customer) { Self::Customer } else { Self::Admin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for reason in CancelReason::ALL {
            assert_eq!(CancelReason::named(reason.name()), Some(reason));
        }
    }
}
