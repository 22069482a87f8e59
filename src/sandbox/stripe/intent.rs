//! A payment of Stripe's: its states, its legal moves, its test cards and how it looks.
//!
//! Pure: it knows no books and no socket. Every move says which event it brings up, or why it is not allowed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::StripeError;
use super::refunds;

/// Where a payment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It waits for a way to pay, at first or after a refusal.
    RequiresPaymentMethod,
    /// The buyer's bank wants to see them.
    RequiresAction,
    /// A bank takes its time.
    Processing,
    /// Authorised, to be captured.
    RequiresCapture,
    /// Paid.
    Succeeded,
    /// Given up.
    Canceled,
}

impl Status {
    /// As Stripe writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresAction => "requires_action",
            Self::Processing => "processing",
            Self::RequiresCapture => "requires_capture",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }
}

/// Why a card was refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Decline {
    /// `card_declined`, `expired_card`, …
    pub(crate) code: String,
    /// `generic_decline`, `insufficient_funds`, …; empty where the card was not asked.
    pub(crate) decline_code: String,
}

/// A payment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// `pi_…`.
    pub(crate) id: String,
    /// What a browser must show.
    pub(crate) client_secret: String,
    /// Unix seconds.
    pub(crate) created: i64,
    /// In the currency's smallest unit.
    pub(crate) amount: i64,
    /// ISO 4217, small letters.
    pub(crate) currency: String,
    /// Where it is.
    pub(crate) status: Status,
    /// `capture_method=manual`: a success only authorises.
    pub(crate) manual_capture: bool,
    /// `automatic_payment_methods[enabled]`.
    pub(crate) automatic_methods: bool,
    /// The caller's own words.
    pub(crate) metadata: BTreeMap<String, String>,
    /// The caller's description.
    pub(crate) description: Option<String>,
    /// The last way to pay that was tried.
    pub(crate) method: Option<String>,
    /// `ch_…` of the last try.
    pub(crate) charge: Option<String>,
    /// What was taken, in the smallest unit.
    pub(crate) received: i64,
    /// What was given back, in the smallest unit.
    pub(crate) refunded: i64,
    /// Why the last try failed.
    pub(crate) decline: Option<Decline>,
    /// Unix seconds.
    pub(crate) canceled_at: Option<i64>,
    /// What the caller said.
    pub(crate) cancellation_reason: Option<String>,
}

/// What a test way to pay does.
enum Outcome {
    Success,
    Action,
    Processing,
    Refusal(&'static str, &'static str),
}

/// Stripe's published test methods; whatever is not listed succeeds.
fn outcome(method: &str) -> Outcome {
    match method.trim_start_matches("pm_card_").trim_start_matches("visa_") {
        "chargeDeclined" => Outcome::Refusal("card_declined", "generic_decline"),
        "chargeDeclinedInsufficientFunds" => Outcome::Refusal("card_declined", "insufficient_funds"),
        "chargeDeclinedLostCard" => Outcome::Refusal("card_declined", "lost_card"),
        "chargeDeclinedStolenCard" => Outcome::Refusal("card_declined", "stolen_card"),
        "chargeDeclinedFraudulent" => Outcome::Refusal("card_declined", "fraudulent"),
        "chargeDeclinedExpiredCard" => Outcome::Refusal("expired_card", "expired_card"),
        "chargeDeclinedIncorrectCvc" => Outcome::Refusal("incorrect_cvc", "incorrect_cvc"),
        "chargeDeclinedProcessingError" => Outcome::Refusal("processing_error", "processing_error"),
        "threeDSecure2Required"
        | "threeDSecureRequired"
        | "authenticationRequired"
        | "threeDSecureRequiredChargeDeclined"
        | "threeDSecureRequiredProcessingError"
        | "authenticationRequiredChargeDeclinedInsufficientFunds" => Outcome::Action,
        "pm_usBankAccount_processing" | "pm_usBankAccount_success" => Outcome::Processing,
        _ => Outcome::Success,
    }
}

/// What such a way to pay does once the bank has seen the buyer.
fn outcome_once_seen(method: &str) -> Outcome {
    match method.trim_start_matches("pm_card_") {
        "threeDSecureRequiredChargeDeclined" => Outcome::Refusal("card_declined", "generic_decline"),
        "threeDSecureRequiredProcessingError" => Outcome::Refusal("processing_error", "processing_error"),
        "authenticationRequiredChargeDeclinedInsufficientFunds" => {
            Outcome::Refusal("card_declined", "insufficient_funds")
        }
        _ => Outcome::Success,
    }
}

impl Intent {
    /// Tries to take the money with `method`, or goes on where the bank asked to see the buyer. The event that it
    /// brings up; a refusal is an event too, and shows in [`Intent::decline`].
    pub(crate) fn confirm(
        &mut self,
        method: Option<&str>,
        charge: String,
    ) -> Result<&'static str, StripeError> {
        let outcome = match (self.status, method.or(self.method.as_deref())) {
            (Status::RequiresPaymentMethod, None) => {
                return Err(self.refuse(
                    "You cannot confirm this PaymentIntent because it's missing a payment method. Update the \
                     PaymentIntent with a payment method and then confirm it again.",
                ));
            }
            (Status::RequiresPaymentMethod, Some(method)) => outcome(method),
            (Status::RequiresAction, method) => outcome_once_seen(method.unwrap_or_default()),
            (Status::Processing | Status::RequiresCapture | Status::Succeeded | Status::Canceled, _) => {
                return Err(self.refuse(&format!(
                    "You cannot confirm this PaymentIntent because it has a status of {}.",
                    self.status.name()
                )));
            }
        };
        if let Some(method) = method {
            self.method = Some(method.to_owned());
        }
        self.decline = None;
        self.charge = Some(charge);
        Ok(match outcome {
            Outcome::Success => self.take(),
            Outcome::Action => self.wait(Status::RequiresAction, "payment_intent.requires_action"),
            Outcome::Processing => self.wait(Status::Processing, "payment_intent.processing"),
            Outcome::Refusal(code, decline_code) => self.fail(code, decline_code),
        })
    }

    /// Ends a `processing` payment, as a bank does days later.
    pub(crate) fn settle(&mut self, paid: bool) -> Result<&'static str, StripeError> {
        if self.status != Status::Processing {
            return Err(self.refuse("Only a processing payment can be settled."));
        }
        Ok(if paid {
            self.take()
        } else {
            self.fail("payment_intent_payment_attempt_failed", "generic_decline")
        })
    }

    /// The buyer is back from the bank's page: seen, or not recognised. One who never comes back does nothing at all.
    pub(crate) fn seen_by_the_bank(
        &mut self,
        recognised: bool,
        charge: String,
    ) -> Result<&'static str, StripeError> {
        if self.status != Status::RequiresAction {
            return Err(self.refuse("Nobody waits for this buyer at the bank's page."));
        }
        if recognised {
            return self.confirm(None, charge);
        }
        Ok(self.fail("payment_intent_authentication_failure", ""))
    }

    /// Only promises the money, as an account does that captures by hand.
    pub(crate) fn authorise(&mut self, charge: String) -> Result<&'static str, StripeError> {
        if self.status != Status::RequiresPaymentMethod {
            return Err(self.refuse("Only a payment that waits for a way to pay can be authorised."));
        }
        self.manual_capture = true;
        self.charge = Some(charge);
        Ok(self.take())
    }

    /// Lets a promise lapse, as a bank does after some days.
    pub(crate) fn lapse(&mut self, now: i64) -> Result<&'static str, StripeError> {
        if self.status != Status::RequiresCapture {
            return Err(self.refuse("Only an authorised payment can lapse."));
        }
        self.cancel(Some("automatic"), now)
    }

    /// Takes what was authorised.
    pub(crate) fn capture(&mut self) -> Result<&'static str, StripeError> {
        if self.status != Status::RequiresCapture {
            return Err(self.refuse(&format!(
                "This PaymentIntent could not be captured because it has a status of {}. Only a PaymentIntent with one \
                 of the following statuses may be captured: requires_capture.",
                self.status.name()
            )));
        }
        Ok(self.pay())
    }

    /// Gives the payment up.
    pub(crate) fn cancel(&mut self, reason: Option<&str>, now: i64) -> Result<&'static str, StripeError> {
        if matches!(self.status, Status::Succeeded | Status::Canceled) {
            return Err(self.refuse(&format!(
                "You cannot cancel this PaymentIntent because it has a status of {}. Only a PaymentIntent with one of \
                 the following statuses may be canceled: requires_payment_method, requires_capture, \
                 requires_confirmation, requires_action, processing.",
                self.status.name()
            )));
        }
        self.status = Status::Canceled;
        self.canceled_at = Some(now);
        self.cancellation_reason = reason.map(str::to_owned);
        Ok("payment_intent.canceled")
    }

    /// Gives back `wanted`, or all that is left; the amount. Never more than was taken.
    pub(crate) fn give_back(&mut self, wanted: Option<i64>) -> Result<i64, StripeError> {
        let left = self.received - self.refunded;
        if self.status != Status::Succeeded {
            return Err(self.refuse("This PaymentIntent does not have a successful charge to refund."));
        }
        if left == 0 {
            let message = "Charge has already been refunded.";
            return Err(StripeError::invalid(message).code("charge_already_refunded"));
        }
        let amount = wanted.unwrap_or(left);
        if !(1..=left).contains(&amount) {
            let message =
                format!("Refund amount ({amount}) is not between 1 and the unrefunded amount ({left}).");
            return Err(StripeError::invalid(&message).param("amount"));
        }
        self.refunded += amount;
        Ok(amount)
    }

    /// How a refund begins: of Stripe's test card `pendingRefund` the bank confirms it later.
    pub(super) fn refund_status(&self) -> refunds::Status {
        match self.method.as_deref() {
            Some("pm_card_pendingRefund") => refunds::Status::Pending,
            _ => refunds::Status::Succeeded,
        }
    }

    fn take(&mut self) -> &'static str {
        if self.manual_capture {
            return self.wait(Status::RequiresCapture, "payment_intent.amount_capturable_updated");
        }
        self.pay()
    }

    fn pay(&mut self) -> &'static str {
        self.status = Status::Succeeded;
        self.received = self.amount;
        "payment_intent.succeeded"
    }

    fn wait(&mut self, status: Status, event: &'static str) -> &'static str {
        self.status = status;
        event
    }

    fn fail(&mut self, code: &str, decline_code: &str) -> &'static str {
        self.status = Status::RequiresPaymentMethod;
        self.decline = Some(Decline { code: code.to_owned(), decline_code: decline_code.to_owned() });
        self.method = None;
        "payment_intent.payment_failed"
    }

    fn refuse(&self, message: &str) -> StripeError {
        StripeError::unexpected_state(message).about(self.body())
    }

    /// The card error of the last try, if it failed.
    pub(crate) fn refusal(&self) -> Option<StripeError> {
        let decline = self.decline.as_ref()?;
        let error = StripeError::card(&decline.code, &decline.decline_code, REFUSED);
        Some(error.about(self.body()))
    }

    /// Its charge as Stripe shows it: what went back is told in one sum.
    pub(crate) fn charge_body(&self) -> Value {
        json!({
            "id": self.charge, "object": "charge", "livemode": false, "amount": self.amount,
            "amount_captured": self.received, "amount_refunded": self.refunded, "currency": self.currency,
            "captured": self.received > 0, "paid": true, "refunded": self.refunded == self.received,
            "payment_intent": self.id, "metadata": self.metadata, "status": "succeeded", "created": self.created,
        })
    }

    /// As Stripe shows it.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({
            "id": self.id, "object": "payment_intent", "livemode": false,
            "amount": self.amount, "amount_received": self.received, "currency": self.currency,
            "amount_capturable": if self.status == Status::RequiresCapture { self.amount } else { 0 },
            "amount_details": {"tip": {}},
            "capture_method": if self.manual_capture { "manual" } else { "automatic_async" },
            "confirmation_method": "automatic",
            "client_secret": self.client_secret, "created": self.created, "status": self.status.name(),
            "canceled_at": self.canceled_at, "cancellation_reason": self.cancellation_reason,
            "description": self.description, "metadata": self.metadata,
            "latest_charge": self.charge, "payment_method": self.method,
            "payment_method_types": ["card"],
            "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        });
        for empty in NULLS {
            body[*empty] = Value::Null;
        }
        if self.automatic_methods {
            body["automatic_payment_methods"] = json!({"enabled": true, "allow_redirects": "always"});
        }
        if self.status == Status::RequiresAction {
            body["next_action"] =
                json!({"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}});
        }
        if let Some(decline) = &self.decline {
            body["last_payment_error"] = json!({
                "type": "card_error", "code": decline.code,
                "decline_code": (!decline.decline_code.is_empty()).then_some(&decline.decline_code),
                "message": REFUSED, "charge": self.charge,
            });
        }
        body
    }
}

const REFUSED: &str = "Your card was declined.";

/// Fields of Stripe's shape that the sandbox leaves empty, or fills in where the state asks for it.
const NULLS: &[&str] = &[
    "application",
    "application_fee_amount",
    "automatic_payment_methods",
    "customer",
    "last_payment_error",
    "next_action",
    "on_behalf_of",
    "payment_method_configuration_details",
    "processing",
    "receipt_email",
    "review",
    "setup_future_usage",
    "shipping",
    "source",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_data",
    "transfer_group",
];
