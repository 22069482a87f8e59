//! What a slice locks before it settles: in the one order that every transaction keeps, and no more than it may touch.

use std::collections::HashMap;

use super::{Heard, apply};
use crate::ids::{OrderId, PaymentId};
use crate::job::Failure;
use crate::jobs::Rules;
use crate::store::orders::{self, Order};
use crate::store::payments::{self, Payment};
use crate::store::{Tx, coupons, reservations};

/// A slice's orders and payments, locked, with everything that settling them may touch.
pub(in crate::jobs) struct Books {
    pub(in crate::jobs) orders: HashMap<OrderId, Order>,
    pub(in crate::jobs) payments: HashMap<PaymentId, Payment>,
}

impl Books {
    /// Locks in the one order that every transaction keeps: orders, payments, holds, stock, the coupons of those that are
    /// being called off; each for the whole slice.
    pub(in crate::jobs) async fn open(
        tx: &mut Tx,
        orders: &[OrderId],
        payments: &[PaymentId],
    ) -> Result<Self, Failure> {
        let books = Self::without_stock(tx, orders, payments).await?;
        reservations::lock(tx, orders).await?;
        let ending: Vec<OrderId> =
            books.orders.values().filter(|order| order.cancel_requested).map(|order| order.id).collect();
        if !ending.is_empty() {
            coupons::lock_used(tx, &ending).await?;
        }
        Ok(books)
    }

    /// The same for a slice whose payments were heard of. Articles are locked only where some payment `is_over`: a hold ends,
    /// or is made again. The row of an article that everybody buys is where all wait for each other's commits, and a look
    /// that finds nothing new must not stand in that line.
    pub(in crate::jobs) async fn hearing(
        tx: &mut Tx,
        orders: &[OrderId],
        payments: &[PaymentId],
        is_over: bool,
    ) -> Result<Self, Failure> {
        if is_over {
            Self::open(tx, orders, payments).await
        } else {
            Self::without_stock(tx, orders, payments).await
        }
    }

    /// The same for who ends holds at most, and all of them in one statement: that locks holds and stock itself, late.
    pub(in crate::jobs) async fn without_stock(
        tx: &mut Tx,
        orders: &[OrderId],
        payments: &[PaymentId],
    ) -> Result<Self, Failure> {
        Ok(Self { orders: orders::lock(tx, orders).await?, payments: payments::lock(tx, payments).await? })
    }

    /// Applies what was heard of one payment.
    pub(in crate::jobs) async fn apply(
        &self,
        tx: &mut Tx,
        rules: &Rules,
        (order, payment): (OrderId, PaymentId),
        heard: &Heard,
        cause: &str,
    ) -> Result<(), Failure> {
        match (self.orders.get(&order), self.payments.get(&payment)) {
            (Some(order), Some(payment)) => apply(tx, rules, (order, payment), heard, cause).await,
            _ => Ok(()),
        }
    }
}
