//! Where an order's money and its parcels stand: two axes beside its status. Both are derived from rows and stored
//! nowhere, so that they can not contradict them; the store's query says how.

macro_rules! standings {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$each])* $variant,)*
        }

        impl $name {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in the API and in the store's query.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The one of a name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|standing| standing.name() == name)
            }
        }
    };
}

standings! {
    /// Where an order's money stands.
    PaymentStatus {
        /// It costs nothing.
        NotRequired = "not_required",
        /// None has come yet.
        Awaiting = "awaiting",
        /// It is promised, not moved.
        Authorized = "authorized",
        /// It came.
        Captured = "captured",
        /// Some of it went back.
        PartiallyRefunded = "partially_refunded",
        /// All of it went back.
        Refunded = "refunded",
        /// A bank wants it back.
        Disputed = "disputed",
        /// A bank wanted it back, and it is ours.
        DisputeWon = "dispute_won",
        /// A bank took it back for good.
        DisputeLost = "dispute_lost",
        /// The last charge will not happen.
        Cancelled = "cancelled",
    }
}

standings! {
    /// Where an order's parcels stand: as far as the last of them.
    FulfilmentStatus {
        /// No parcel has a label.
        Unfulfilled = "unfulfilled",
        /// Some parcels have labels.
        PartiallyFulfilled = "partially_fulfilled",
        /// Every parcel has its label.
        Fulfilled = "fulfilled",
        /// The carrier has every parcel.
        Shipped = "shipped",
        /// The customer has every parcel.
        Delivered = "delivered",
        /// A parcel is on its way back, or could not be delivered.
        Returned = "returned",
    }
}
