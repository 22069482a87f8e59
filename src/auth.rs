//! Who may do what, and the keys that say who it is.
//!
//! Pure rules: looking a key up is the caller's work. A key has 256 random bits and is shown once; what is kept is its
//! SHA-256. A slow password hash would add nothing, because nobody can guess 256 bits; and as the look-up is by hash,
//! its timing tells nothing of the key. Never log a key, whole or in part: [`crate::ids::ApiKeyId`] names it.

pub mod token;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use secrecy::SecretString;

use crate::ids::{self, ApiKeyId};

/// What every key begins with, so that scanners for leaked secrets can find one.
const PREFIX: &str = "of_live_";
/// 256 bits: beyond guessing, for ever.
const KEY_BYTES: usize = 32;

/// A part that a caller plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A buyer: their own orders only.
    Customer,
    /// A maker: the lines that it makes.
    Vendor,
    /// Staff that looks.
    Viewer,
    /// Staff that moves orders on.
    Processor,
    /// Staff that also handles money and writes to customers.
    Manager,
    /// Staff that may do everything.
    Administrator,
    /// The shop's web tier, on behalf of its visitors.
    Service,
    /// A provider whose webhook was signed.
    Provider,
    /// The fleet itself.
    System,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 9] = [
        Self::Customer,
        Self::Vendor,
        Self::Viewer,
        Self::Processor,
        Self::Manager,
        Self::Administrator,
        Self::Service,
        Self::Provider,
        Self::System,
    ];

    /// Its stored name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Vendor => "vendor",
            Self::Viewer => "viewer",
            Self::Processor => "processor",
            Self::Manager => "manager",
            Self::Administrator => "administrator",
            Self::Service => "service",
            Self::Provider => "provider",
            Self::System => "system",
        }
    }

    /// The role of a stored name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether a key can carry it: a signature makes a provider, and the fleet needs no key.
    #[must_use]
    pub const fn has_keys(self) -> bool {
        !matches!(self, Self::Provider | Self::System)
    }

    /// How far this role may go with an action.
    #[must_use]
    pub const fn reach(self, action: Action) -> Reach {
        use Action as A;
        use Role as R;
        match (self, action) {
            (R::System | R::Administrator, _)
            | (
                R::Service,
                A::PlaceIntent | A::ReadIntent | A::ReadClientSecret | A::PayAgain | A::ReadStock,
            )
            | (
                R::Viewer | R::Processor | R::Manager,
                A::ReadIntent | A::ReadOrder | A::ReadStock | A::ReadFleet,
            )
            | (R::Processor | R::Manager, A::ReadPerson | A::MoveOrder | A::HoldOrder | A::Ship)
            | (
                R::Manager,
                A::CancelOrder
                | A::Refund
                | A::RecordPayment
                | A::SendMail
                | A::ReadReports
                | A::ReadActions
                | A::ReplayDeadLetter,
            )
            | (R::Provider, A::DeliverWebhook) => Reach::All,
            (
                R::Customer,
                A::PlaceIntent
                | A::ReadIntent
                | A::ReadClientSecret
                | A::PayAgain
                | A::ReadOrder
                | A::ReadPerson
                | A::CancelOrder,
            )
            | (R::Vendor, A::ReadOrder | A::MoveOrder) => Reach::Own,
            (
                R::Customer | R::Vendor | R::Viewer | R::Processor | R::Manager | R::Service | R::Provider,
                _,
            ) => Reach::Nothing,
        }
    }

    /// Whether this role may do it at all, be it to its own things only.
    #[must_use]
    pub const fn may(self, action: Action) -> bool {
        !matches!(self.reach(action), Reach::Nothing)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that needs a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an order intent.
    PlaceIntent,
    /// See what became of an intent.
    ReadIntent,
    /// See the secret that a browser pays with. Staff never needs it.
    ReadClientSecret,
    /// Open a payment once more, or look at the provider.
    PayAgain,
    /// See orders.
    ReadOrder,
    /// See who bought them and where they live, and find them by that.
    ReadPerson,
    /// Call an order off.
    CancelOrder,
    /// Give money back.
    Refund,
    /// Record money that came without a provider's word, or that went back so.
    RecordPayment,
    /// Move an order forward.
    MoveOrder,
    /// Stop an order, mark an exception, resume.
    HoldOrder,
    /// Buy and void labels.
    Ship,
    /// Write to a customer by hand.
    SendMail,
    /// See sums over orders.
    ReadReports,
    /// See advisory stock.
    ReadStock,
    /// See lanes, workers and dead letters.
    ReadFleet,
    /// See what operators did.
    ReadActions,
    /// Give a dead letter another life.
    ReplayDeadLetter,
    /// Remove a dead letter.
    DropDeadLetter,
    /// Change settings, prices, stock.
    Configure,
    /// Make and revoke keys.
    RotateKeys,
    /// Tell what happened at a provider.
    DeliverWebhook,
}

/// How far a right goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Not at all.
    Nothing,
    /// To what belongs to the caller.
    Own,
    /// To everything of the caller's tenant.
    All,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Whose shop. Nothing of another tenant exists for this caller.
    pub tenant: String,
    /// The part that they play.
    pub role: Role,
    /// Who they are, where [`Reach::Own`] needs it: the customer's id or the vendor's name. Of a token, its `sub`.
    pub subject: Option<String>,
    /// The key that they showed, for logs; a token has none.
    pub key: Option<ApiKeyId>,
}

impl Principal {
    /// Whether they may do this to something of this tenant and owner.
    #[must_use]
    pub fn may(&self, action: Action, tenant: &str, owner: &str) -> bool {
        self.tenant == tenant
            && match self.role.reach(action) {
                Reach::All => true,
                Reach::Own => self.subject.as_deref() == Some(owner),
                Reach::Nothing => false,
            }
    }
}

/// SHA-256 of a key: how it is stored and found.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// A key that was just made: to be shown once, and its hash to be stored.
pub struct NewKey {
    /// The key itself.
    pub key: SecretString,
    /// What is kept of it.
    pub hash: KeyHash,
}

/// Makes a key of 256 random bits.
#[must_use]
pub fn new_key() -> NewKey {
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(ids::random_bytes::<KEY_BYTES>()));
    NewKey { hash: hash(&key), key: key.into() }
}

/// Reads the value of an `Authorization` header. Anything but a well-formed key of ours is none.
#[must_use]
pub fn bearer(header: &str) -> Option<KeyHash> {
    let (scheme, key) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let key = key.trim();
    let random = URL_SAFE_NO_PAD.decode(key.strip_prefix(PREFIX)?).ok()?;
    (random.len() == KEY_BYTES).then(|| hash(key))
}

fn hash(key: &str) -> KeyHash {
    let mut bytes = [0_u8; 32];
    bytes.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    KeyHash(bytes)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_new_key_is_found_by_its_hash_and_no_other_is() {
        let new = new_key();
        let header = format!("bearer {}", new.key.expose_secret());
        assert_eq!(bearer(&header), Some(new.hash));
        assert_ne!(bearer(&format!("Bearer {}", new_key().key.expose_secret())), Some(new.hash));
    }

    #[test]
    fn what_is_no_key_of_ours_is_no_credential() {
        for header in
            ["", "Bearer", "Bearer ", "Bearer of_live_", "Bearer of_live_abc", "Basic of_live_abc", "ey.J.x"]
        {
            assert_eq!(bearer(header), None, "{header:?}");
        }
    }

    #[test]
    fn a_customer_reaches_their_own_things_of_their_own_tenant() {
        let customer = Principal {
            tenant: "shop".to_owned(),
            role: Role::Customer,
            subject: Some("cus_7".to_owned()),
            key: None,
        };
        assert!(customer.may(Action::ReadIntent, "shop", "cus_7"));
        assert!(!customer.may(Action::ReadIntent, "shop", "cus_8"));
        assert!(!customer.may(Action::ReadIntent, "other", "cus_7"));
        assert!(!customer.may(Action::Refund, "shop", "cus_7"));
    }

    #[test]
    fn without_a_subject_nothing_is_ones_own() {
        let nobody = Principal { tenant: "shop".to_owned(), role: Role::Customer, subject: None, key: None };
        assert!(!nobody.may(Action::ReadIntent, "shop", ""));
    }

    #[test]
    fn staff_never_sees_what_a_browser_pays_with() {
        for role in [Role::Vendor, Role::Viewer, Role::Processor, Role::Manager] {
            assert!(!role.may(Action::ReadClientSecret), "{role}");
        }
    }

    #[test]
    fn a_person_is_shown_to_those_who_pack_ship_and_answer_for_it() {
        for role in Role::ALL {
            let sees = matches!(
                role,
                Role::Customer | Role::Processor | Role::Manager | Role::Administrator | Role::System
            );
            assert_eq!(role.may(Action::ReadPerson), sees, "{role}");
        }
        assert_eq!(Role::Customer.reach(Action::ReadPerson), Reach::Own);
    }

    #[test]
    fn every_name_leads_back_to_its_role() {
        for role in Role::ALL {
            assert_eq!(Role::named(role.name()), Some(role));
        }
    }
}
