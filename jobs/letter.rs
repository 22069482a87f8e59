//! A notice's mail: its facts gathered from the order's rows, and written in its customer's language.
//!
//! Used by the job that sends it, and by whoever wants to see a mail before anybody gets it. Nothing here writes a row.

use serde_json::{Value, json};

use crate::config::ShopSettings;
use crate::domain::money::{Amount, Currency};
use crate::domain::notice::Notice;
use crate::ids::{CommunicationId, OrderId};
use crate::job::Failure;
use crate::provider::smtp::Mail;
use crate::store::communications::{self, Communication};
use crate::store::orders::Summary;
use crate::store::{Tx, orders, shipments};
use crate::wording::{NoticeFacts, NoticeLine, Wording};

/// A mail that nobody gets.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The mail.
    pub mail: Mail,
    /// The language that it is in.
    pub language: String,
    /// Whether this order's customer was, or is being, told this; else what the order does not know yet is made up.
    pub is_told: bool,
}

/// Writes a notice's mail.
pub async fn write(
    tx: &mut Tx,
    (shop, wording): (&ShopSettings, &Wording),
    notice: &Communication,
) -> Result<(Mail, String), Failure> {
    let facts = facts(tx, shop, notice).await?;
    let written = wording
        .render(notice.notice.name(), &notice.locale, &facts)
        .map_err(|error| Failure::permanent("not_rendered", error))?;
    let mail = Mail {
        message_id: format!("{}@{}", notice.id, shop.mail_domain),
        from: shop.mail_from.clone(),
        to: notice.recipient.clone(),
        subject: written.subject,
        text: written.text,
        html: Some(written.html),
        order_number: facts.order_number,
    };
    Ok((mail, written.language))
}

/// What a customer of this order would read, or has read; in another language, where one is named. None where there is no
/// such order.
pub async fn preview(
    tx: &mut Tx,
    words: (&ShopSettings, &Wording),
    (order, notice): (OrderId, Notice),
    locale: Option<&str>,
) -> Result<Option<Preview>, Failure> {
    let Some(summary) = orders::summary(tx, order).await? else { return Ok(None) };
    let told = communications::newest(tx, order, notice).await?;
    let is_told = told.is_some();
    let customer = |field: &str| summary.customer[field].as_str().map(str::to_owned);
    let mut letter = told.unwrap_or_else(|| Communication {
        id: CommunicationId::new(),
        order: Some(order),
        notice,
        recipient: customer("email").unwrap_or_default(),
        recipient_hash: Vec::new(),
        locale: customer("locale").unwrap_or_else(|| "en".to_owned()),
        facts: made_up(notice, &summary),
        is_in_doubt: false,
    });
    if let Some(locale) = locale {
        locale.clone_into(&mut letter.locale);
    }
    let (mail, language) = write(tx, words, &letter).await?;
    Ok(Some(Preview { mail, language, is_told }))
}

/// Facts of a mail that its order has no reason for yet.
fn made_up(notice: Notice, order: &Summary) -> Value {
    let total = order.currency.parse::<Currency>().map(|of| Amount::new(order.total_minor, of).to_string());
    let total = total.unwrap_or_default();
    match notice {
        Notice::PaymentConfirmation => json!({ "paid": total }),
        Notice::RefundConfirmation => json!({ "refunded": total }),
        Notice::ProcessingUpdate => json!({ "stage": "processing" }),
        Notice::ShippingNotification | Notice::OutForDelivery | Notice::DeliveryConfirmation => {
            json!({ "carrier": "USPS", "tracking_code": "9400100000000000000000" })
        }
        Notice::Manual => json!({ "subject": "What you write", "message": "What you write." }),
        Notice::OpsAlert => json!({ "alert": "3 dead letters in shipping" }),
        Notice::OrderReceived
        | Notice::OrderConfirmation
        | Notice::PaymentFailed
        | Notice::ReservationExpired
        | Notice::DelayOrException
        | Notice::Cancellation
        | Notice::SatisfactionSurvey => json!({}),
    }
}

async fn facts(tx: &mut Tx, shop: &ShopSettings, notice: &Communication) -> Result<NoticeFacts, Failure> {
    let told = serde_json::from_value(notice.facts.clone())
        .map_err(|error| Failure::permanent("unreadable_facts", error))?;
    let mut facts = NoticeFacts { shop_name: shop.name.clone(), ..told };
    let Some(id) = notice.order else {
        return Ok(facts);
    };
    let Some(order) = orders::summary(tx, id).await? else {
        return Ok(facts);
    };
    of_the_order(tx, shop, id, &order, &mut facts).await?;
    of_the_parcel(tx, shop, id, &mut facts).await?;
    Ok(facts)
}

async fn of_the_order(
    tx: &mut Tx,
    shop: &ShopSettings,
    id: OrderId,
    order: &Summary,
    facts: &mut NoticeFacts,
) -> Result<(), Failure> {
    let currency = order.currency.parse().map_err(|error| Failure::permanent("bad_currency", error))?;
    let money = |minor| Amount::new(minor, currency).to_string();
    let unless_none = |minor: i64| (minor != 0).then(|| money(minor));
    facts.order_url = Some(shop.order_url.replace("{order}", &order.number));
    facts.customer_name = order.customer["name"].as_str().map(str::to_owned);
    facts.total = Some(money(order.total_minor));
    facts.discount = unless_none(-order.discount_minor);
    facts.shipping = unless_none(order.shipping_minor);
    facts.tax = unless_none(order.tax_minor);
    facts.lines = orders::items(tx, id)
        .await?
        .into_iter()
        .map(|item| NoticeLine {
            name: item.name,
            quantity: u32::try_from(item.quantity).unwrap_or(u32::MAX),
            total: money(item.total_minor),
        })
        .collect();
    facts.order_number = Some(order.number.clone());
    Ok(())
}

async fn of_the_parcel(
    tx: &mut Tx,
    shop: &ShopSettings,
    id: OrderId,
    facts: &mut NoticeFacts,
) -> Result<(), Failure> {
    let label = shipments::label_facts(tx, id, facts.tracking_code.as_deref()).await?;
    let text = |field: &str| label[field].as_str().map(str::to_owned);
    facts.carrier = text("carrier").or_else(|| facts.carrier.take());
    facts.tracking_code = text("tracking_code").or_else(|| facts.tracking_code.take());
    if let (Some(carrier), Some(code)) = (&facts.carrier, &facts.tracking_code) {
        facts.tracking_url = shop.tracking_url(carrier, code);
    }
    Ok(())
}
