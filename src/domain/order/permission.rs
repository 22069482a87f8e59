//! Who may ask for which move of an order.
//!
//! What is legal for the fleet is not for everybody: nobody but the fleet says that money came, and a customer may call
//! an order off only while nobody works on it. That a move is legal at all is [`Status::may_become`]'s; whether the order
//! is the caller's own is the credential's.

use super::Status;
use crate::auth::Role;

/// Those who work on orders.
const STAFF: &[Role] = &[Role::Processor, Role::Manager, Role::Administrator];
/// Those who also decide over money.
const LEAD: &[Role] = &[Role::Manager, Role::Administrator];
/// Staff, and a vendor for its own lines.
const MAKERS: &[Role] = &[Role::Vendor, Role::Processor, Role::Manager, Role::Administrator];
/// Those who may call off what nobody works on yet.
const BUYERS: &[Role] = &[Role::Customer, Role::Manager, Role::Administrator];

impl Status {
    /// Whether this role may ask for the move from here to `to`.
    #[must_use]
    pub fn may_be_moved_by(self, role: Role, to: Self) -> bool {
        self.may_become(to)
            && (self.askers(to).contains(&role) || role == Role::System && self.moves_itself(to))
    }

    /// Where this role may ask an order to go from here.
    #[must_use]
    pub fn offers(self, role: Role) -> Vec<Self> {
        Self::ALL.into_iter().filter(|to| self.may_be_moved_by(role, *to)).collect()
    }

    /// The people who may ask for a legal move.
    fn askers(self, to: Self) -> &'static [Role] {
        use Status as S;
        match (self, to) {
            // Money came, or went: only the fleet knows.
            (S::PendingPayment, S::PaymentConfirmed) | (_, S::Refunded) => &[],
            (S::PendingPayment | S::PaymentConfirmed | S::Confirmed, S::Cancelled) => BUYERS,
            (S::PendingPayment, S::OnHold) | (S::Delivered, S::Completed) | (_, S::Cancelled) => LEAD,
            (S::PaymentConfirmed | S::Confirmed, S::Confirmed | S::Processing) => MAKERS,
            (
                S::PendingPayment
                | S::PaymentConfirmed
                | S::Confirmed
                | S::Processing
                | S::InProduction
                | S::QualityCheck
                | S::Packaging
                | S::Fulfilled
                | S::Shipped
                | S::OutForDelivery
                | S::Delivered
                | S::Completed
                | S::OnHold
                | S::Exception
                | S::Cancelled
                | S::Refunded,
                _,
            ) => STAFF,
        }
    }

    /// Whether the fleet makes this legal move by itself: all but the steps that only hands and eyes can take.
    const fn moves_itself(self, to: Self) -> bool {
        !matches!(
            (self, to),
            (Self::InProduction, Self::QualityCheck)
                | (Self::QualityCheck, Self::Packaging | Self::InProduction)
                | (Self::OnHold | Self::Exception, Self::Cancelled)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_may_ask_for_what_is_illegal() {
        for from in Status::ALL {
            for to in Status::ALL.into_iter().filter(|to| !from.may_become(*to)) {
                assert!(Role::ALL.into_iter().all(|role| !from.may_be_moved_by(role, to)), "{from} to {to}");
            }
        }
    }

    #[test]
    fn only_the_fleet_says_that_money_came_or_went() {
        for role in Role::ALL.into_iter().filter(|role| *role != Role::System) {
            assert!(!Status::PendingPayment.may_be_moved_by(role, Status::PaymentConfirmed), "{role}");
            assert!(
                Status::ALL.into_iter().all(|from| !from.may_be_moved_by(role, Status::Refunded)),
                "{role}"
            );
        }
        assert!(Status::PendingPayment.may_be_moved_by(Role::System, Status::PaymentConfirmed));
    }

    #[test]
    fn a_customer_may_only_call_off_what_nobody_works_on_yet() {
        for from in Status::ALL {
            let early = matches!(from, Status::PendingPayment | Status::PaymentConfirmed | Status::Confirmed);
            let offered = from.offers(Role::Customer);
            assert_eq!(offered, if early { vec![Status::Cancelled] } else { Vec::new() }, "{from}");
        }
    }

    #[test]
    fn a_vendor_moves_forward_and_never_aside() {
        assert_eq!(Status::PaymentConfirmed.offers(Role::Vendor), [Status::Confirmed, Status::Processing]);
        assert_eq!(Status::Confirmed.offers(Role::Vendor), [Status::Processing]);
        assert!(Status::Processing.offers(Role::Vendor).is_empty());
    }

    #[test]
    fn those_who_only_look_move_nothing() {
        for role in [Role::Viewer, Role::Service, Role::Provider] {
            assert!(Status::ALL.into_iter().all(|from| from.offers(role).is_empty()), "{role}");
        }
    }

    #[test]
    fn every_legal_move_has_somebody_who_makes_it() {
        for from in Status::ALL {
            for to in Status::ALL.into_iter().filter(|to| from.may_become(*to)) {
                assert!(Role::ALL.into_iter().any(|role| from.may_be_moved_by(role, to)), "{from} to {to}");
            }
        }
    }
}
