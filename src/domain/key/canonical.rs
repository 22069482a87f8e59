//! A wish in canonical form: the bytes that a fingerprint is made of.
//!
//! Fields sorted by name, no spaces, a comma behind each, nothing that has its default value. It is written field by field
//! and not through a tree of JSON values, because every request at the door pays for it: the tree was a seventh of the
//! intake's time. The patterns below name every field, so a new one does not compile until it has its place here; that the
//! places are in order is tested. What is written for a given wish must never change.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::domain::intent::{Address, Customer, Line, OrderIntentBody};

/// More than the usual wish needs, so that the buffer seldom grows.
const USUAL: usize = 1024;

/// The wish of this version of the form.
pub(super) fn canonical(version: u8, body: &OrderIntentBody) -> Vec<u8> {
    let mut form = Form(Vec::with_capacity(USUAL));
    form.0.push(version);
    form.wish(body);
    form.0
}

struct Form(Vec<u8>);

impl Form {
    fn wish(&mut self, body: &OrderIntentBody) {
        let OrderIntentBody {
            billing_address,
            cart_id,
            currency,
            customer,
            discount_code,
            expected_total,
            lines,
            metadata,
            on_shortage,
            payment_provider,
            priority,
            shipping_address,
            shipping_method,
        } = body;
        self.0.push(b'{');
        self.optional("billing_address", billing_address.as_ref(), Self::address);
        self.field("cart_id", cart_id, Self::plain);
        self.field("currency", currency, Self::plain);
        self.field("customer", customer, Self::customer);
        self.optional("discount_code", discount_code.as_ref(), Self::plain);
        self.optional("expected_total", expected_total.as_ref(), Self::plain);
        self.field("lines", lines, Self::lines);
        self.free_form("metadata", metadata);
        self.defaulted("on_shortage", on_shortage);
        self.defaulted("payment_provider", payment_provider);
        self.defaulted("priority", priority);
        self.field("shipping_address", shipping_address, Self::address);
        self.defaulted("shipping_method", shipping_method);
        self.0.push(b'}');
    }

    fn customer(&mut self, customer: &Customer) {
        let Customer { email, id, locale, name, phone } = customer;
        self.0.push(b'{');
        self.field("email", email, Self::plain);
        self.optional("id", id.as_ref(), Self::plain);
        self.optional("locale", locale.as_ref(), Self::plain);
        self.field("name", name, Self::plain);
        self.optional("phone", phone.as_ref(), Self::plain);
        self.0.push(b'}');
    }

    fn address(&mut self, address: &Address) {
        let Address { address_line1, address_line2, city, country, name, phone, postal_code, state } =
            address;
        self.0.push(b'{');
        self.field("address_line1", address_line1, Self::plain);
        self.optional("address_line2", address_line2.as_ref(), Self::plain);
        self.field("city", city, Self::plain);
        self.field("country", country, Self::plain);
        self.field("name", name, Self::plain);
        self.optional("phone", phone.as_ref(), Self::plain);
        self.optional("postal_code", postal_code.as_ref(), Self::plain);
        self.optional("state", state.as_ref(), Self::plain);
        self.0.push(b'}');
    }

    fn lines(&mut self, lines: &Vec<Line>) {
        self.0.push(b'[');
        for Line { attributes, quantity, sku } in lines {
            self.0.push(b'{');
            self.free_form("attributes", attributes);
            self.field("quantity", quantity, Self::plain);
            self.field("sku", sku, Self::plain);
            self.0.extend(b"},");
        }
        self.0.push(b']');
    }

    /// The shop's own object; empty is the default.
    fn free_form(&mut self, name: &str, fields: &BTreeMap<String, Value>) {
        let given = (!fields.is_empty()).then_some(fields);
        self.optional(name, given, |form, fields| form.object(fields.iter()));
    }

    fn object<'v>(&mut self, sorted: impl Iterator<Item = (&'v String, &'v Value)>) {
        self.0.push(b'{');
        for (name, value) in sorted {
            // The shop's names may need escaping, ours do not.
            self.plain(name);
            self.0.push(b':');
            self.value(value);
            self.0.push(b',');
        }
        self.0.push(b'}');
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                // Sorted here and not by the map's type, which another crate's feature may change.
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by_key(|(name, _)| *name);
                self.object(fields.into_iter());
            }
            Value::Array(items) => {
                self.0.push(b'[');
                for item in items {
                    self.value(item);
                    self.0.push(b',');
                }
                self.0.push(b']');
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => self.plain(value),
        }
    }

    fn defaulted(&mut self, name: &str, text: &String) {
        let is_default = OrderIntentBody::DEFAULTS.contains(&(name, text));
        self.optional(name, (!is_default).then_some(text), Self::plain);
    }

    fn optional<T>(&mut self, name: &str, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        if let Some(value) = value {
            self.field(name, value, write);
        }
    }

    fn field<T>(&mut self, name: &str, value: &T, write: impl FnOnce(&mut Self, &T)) {
        self.0.push(b'"');
        self.0.extend(name.as_bytes());
        self.0.extend(b"\":");
        write(self, value);
        self.0.push(b',');
    }

    fn plain<T: Serialize>(&mut self, value: &T) {
        // Texts and numbers are always written, and a Vec takes everything.
        let _written = serde_json::to_writer(&mut self.0, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    /// The same form by its rules and not by its fields: what the fingerprints of version 1 were made with at first.
    fn by_the_rules(version: u8, body: &OrderIntentBody) -> Vec<u8> {
        let mut wish = serde_json::to_value(body).unwrap();
        let fields = wish.as_object_mut().unwrap();
        for (field, default) in OrderIntentBody::DEFAULTS {
            if fields[field] == default {
                fields.remove(field);
            }
        }
        drop_empty(fields);
        for part in ["customer", "shipping_address", "billing_address"] {
            fields.get_mut(part).and_then(Value::as_object_mut).into_iter().for_each(drop_empty);
        }
        for line in fields["lines"].as_array_mut().unwrap() {
            drop_empty(line.as_object_mut().unwrap());
        }
        let mut form = Form(vec![version]);
        form.value(&wish);
        form.0
    }

    fn drop_empty(fields: &mut Map<String, Value>) {
        fields.retain(|_, value| !(value.is_null() || value.as_object().is_some_and(Map::is_empty)));
    }

    fn text() -> impl Strategy<Value = String> {
        "[ -~é\u{1f600}\"\\\\\n]{0,9}"
    }

    /// An object of some of its fields.
    fn object(fields: Vec<BoxedStrategy<Option<(&'static str, Value)>>>) -> BoxedStrategy<Value> {
        let named = |(name, value): (&str, Value)| (name.to_owned(), value);
        fields.prop_map(move |fields| fields.into_iter().flatten().map(named).collect()).boxed()
    }

    /// A field that is always sent, or every second time.
    fn field(
        name: &'static str,
        always: bool,
        value: impl Strategy<Value = Value> + 'static,
    ) -> BoxedStrategy<Option<(&'static str, Value)>> {
        let sent = value.prop_map(move |value| (name, value));
        if always { sent.prop_map(Some).boxed() } else { prop::option::of(sent).boxed() }
    }

    fn texts(names: &[&'static str], always: bool) -> Vec<BoxedStrategy<Option<(&'static str, Value)>>> {
        names.iter().map(|name| field(name, always, text().prop_map(Value::from))).collect()
    }

    fn free_form() -> BoxedStrategy<Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), text().prop_map(Value::from)];
        let tree = leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text(), inner, 0..4).prop_map(|map| json!(map)),
            ]
        });
        prop::collection::btree_map(text(), tree, 0..4).prop_map(|map| json!(map)).boxed()
    }

    fn address() -> BoxedStrategy<Value> {
        let sent = texts(&["name", "address_line1", "city", "country"], true);
        object([sent, texts(&["phone", "address_line2", "state", "postal_code"], false)].concat())
    }

    fn wish() -> BoxedStrategy<OrderIntentBody> {
        let customer =
            object([texts(&["email", "name"], true), texts(&["id", "phone", "locale"], false)].concat());
        let quantity = field("quantity", true, any::<i64>().prop_map(Value::from));
        let line =
            object([texts(&["sku"], true), vec![quantity, field("attributes", false, free_form())]].concat());
        let defaulted = OrderIntentBody::DEFAULTS.map(|(name, default)| {
            field(name, false, prop_oneof![Just(Value::from(default)), text().prop_map(Value::from)])
        });
        let fields = vec![
            field("customer", true, customer),
            field("lines", true, prop::collection::vec(line, 0..3).prop_map(Value::from)),
            field("shipping_address", true, address()),
            field("billing_address", false, address()),
            field("expected_total", false, any::<i64>().prop_map(Value::from)),
            field("metadata", false, free_form()),
        ];
        let plain = [texts(&["cart_id", "currency"], true), texts(&["discount_code"], false)].concat();
        object([fields, plain, defaulted.to_vec()].concat())
            .prop_map(|wish| serde_json::from_value(wish).unwrap())
            .boxed()
    }

    proptest! {
        #[test]
        fn every_wish_is_written_as_its_rules_say(wish in wish()) {
            prop_assert_eq!(
                String::from_utf8(canonical(1, &wish)).unwrap(),
                String::from_utf8(by_the_rules(1, &wish)).unwrap()
            );
        }
    }
}
