//! A parcel in the provider's terms: what lies in it and in which box, where it goes, what customs want to know, and what
//! the shop wants of whoever carries it.

use super::Rules;
use crate::config::{Choose, ShippingSettings, Verify};
use crate::domain::money::{Amount, Currency};
use crate::domain::shipment::{self, Item, Package, Parcel, RatePolicy, Share};
use crate::ids::OrderId;
use crate::job::Failure;
use crate::provider::easypost::{Address, CreateShipment, Customs, CustomsItem};
use crate::store::orders::{self, Order};
use crate::store::shipments::ParcelLine;
use crate::store::{Tx, shipments};

/// What lies in one parcel of an order.
pub(super) async fn items(tx: &mut Tx, order: OrderId, parcel_no: i32) -> Result<Vec<orders::Item>, Failure> {
    let all = orders::items(tx, order).await?;
    let contents = shipments::contents(tx, order).await?;
    Ok(if contents.is_empty() { all } else { share(&all, &contents, parcel_no) })
}

/// The pieces of one parcel of several, each line with its part of what it cost.
pub(super) fn share(all: &[orders::Item], contents: &[ParcelLine], parcel_no: i32) -> Vec<orders::Item> {
    let lines = contents.iter().filter(|line| line.parcel_no == parcel_no);
    let of_line = |line: &ParcelLine| {
        let item = all.iter().find(|item| item.line_no == line.line_no)?;
        let total_minor = item.unit_minor.saturating_mul(line.quantity);
        Some(orders::Item { quantity: line.quantity, total_minor, ..item.clone() })
    };
    lines.filter_map(of_line).collect()
}

/// The boxes that these go in: one that everything fits in, else several.
pub(super) async fn pack(tx: &mut Tx, items: &[orders::Item]) -> Result<Vec<Share>, Failure> {
    let packages: Vec<Package> = shipments::templates(tx)
        .await?
        .into_iter()
        .map(|template| Package {
            name: template.name,
            sides_mm: sides(template.size_mm),
            tare_g: positive(template.tare_g.into()),
            max_weight_g: positive(template.max_weight_g.into()),
        })
        .collect();
    let items: Vec<Item> = items
        .iter()
        .map(|item| Item {
            weight_g: positive(item.weight_g.into()),
            sides_mm: sides(item.size_mm),
            quantity: positive(item.quantity),
        })
        .collect();
    shipment::split(&items, &packages).map_err(|error| Failure::permanent("cannot_pack", error))
}

fn sides((length, width, height): (i32, i32, i32)) -> [u32; 3] {
    [positive(length.into()), positive(width.into()), positive(height.into())]
}

fn positive(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// The parcel in the provider's terms, with a customs declaration where it crosses a border.
pub(super) fn request(
    rules: &Rules,
    order: &Order,
    items: &[orders::Item],
    parcel: Parcel,
    reference: &str,
) -> Result<CreateShipment, Failure> {
    let text = |field: &str| order.shipping_address[field].as_str().map(str::to_owned);
    let needed = |field| text(field).unwrap_or_default();
    let from = &rules.ship_from;
    let to = Address {
        name: needed("name"),
        street1: needed("address_line1"),
        street2: text("address_line2"),
        city: needed("city"),
        state: text("state"),
        zip: text("postal_code"),
        country: needed("country"),
        phone: text("phone"),
        email: None,
    };
    let customs = if to.country == from.country {
        None
    } else {
        Some(Customs { signer: from.name.clone(), items: declared(order, items)? })
    };
    Ok(CreateShipment {
        reference: reference.to_owned(),
        to,
        from: from.into(),
        parcel,
        customs,
        invoice_number: order.number.clone(),
    })
}

/// Which offers may be taken, and which of them is.
pub(super) fn policy(settings: &ShippingSettings) -> RatePolicy {
    RatePolicy { services: settings.services.clone(), prefers_fast: settings.choose == Choose::Fastest }
}

/// Whether it is asked first whether the address exists.
pub(super) fn is_to_be_verified(rules: &Rules, to: &Address) -> bool {
    match rules.shipping.verify_addresses {
        Verify::Home => to.country == rules.ship_from.country,
        Verify::All => true,
        Verify::None => false,
    }
}

/// For how much the parcel is insured: what its goods cost, where the order is worth it. Insurance is sold in dollars.
pub(super) fn insurance(rules: &Rules, order: &Order, items: &[orders::Item]) -> Option<Amount> {
    let from = rules.shipping.insure_from_cents;
    let goods: i64 = items.iter().map(|item| item.total_minor).sum();
    let is_worth_it = from > 0 && order.currency == Currency::USD.code() && order.total_minor >= from;
    (is_worth_it && goods > 0).then(|| Amount::new(goods, Currency::USD))
}

fn declared(order: &Order, items: &[orders::Item]) -> Result<Vec<CustomsItem>, Failure> {
    let currency = order.currency.parse().map_err(|error| Failure::permanent("bad_currency", error))?;
    Ok(items
        .iter()
        .map(|item| CustomsItem {
            description: item.customs.2.clone(),
            quantity: positive(item.quantity),
            value: Amount::new(item.total_minor, currency),
            weight_g: positive(item.quantity).saturating_mul(positive(item.weight_g.into())),
            hs_code: item.customs.0.clone(),
            origin: item.customs.1.clone(),
            sku: item.sku.clone(),
        })
        .collect())
}
