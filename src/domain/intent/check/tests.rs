//! Bodies that are right, and everything that can be wrong with one.

use serde_json::json;

use super::*;

fn good() -> Value {
    json!({
        "cart_id": "cart_42",
        "customer": {"id": "cus_7", "email": "a@example.com", "name": "A. Buyer", "phone": "+9779841234567", "locale": "en"},
        "currency": "USD",
        "lines": [{"sku": "SUIT-42R", "quantity": 1, "attributes": {"size": "42R"}}],
        "shipping_address": {"name": "A. Buyer", "phone": "+9779841234567", "address_line1": "123 Main St",
                             "address_line2": null, "city": "Kathmandu", "state": "Bagmati", "postal_code": "44600",
                             "country": "NP"},
        "billing_address": null,
        "shipping_method": "standard",
        "discount_code": null,
        "payment_provider": "stripe",
        "priority": "normal",
        "on_shortage": "reject_all",
        "expected_total": null,
        "metadata": {}
    })
}

fn faults(body: &Value) -> Vec<String> {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<HashSet<_>>();
    let (skus, currencies, methods) = (set(&["SUIT-42R"]), set(&["USD"]), set(&["standard"]));
    let providers = HashSet::from(["stripe".to_owned()]);
    let known = Known {
        skus: Some(&skus),
        currencies: Some(&currencies),
        shipping_methods: Some(&methods),
        payment_providers: Some(&providers),
    };
    match OrderIntentBody::read(body.clone(), known) {
        Ok(_) => Vec::new(),
        Err(faults) => faults
            .into_iter()
            .map(|fault| format!("{}: {}", fault.field, json!(fault.code).as_str().unwrap_or_default()))
            .collect(),
    }
}

fn with(pointer: &str, value: Value) -> Value {
    let mut body = good();
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

#[test]
fn a_right_body_has_no_fault_and_defaults_may_be_left_out() {
    assert_eq!(faults(&good()), Vec::<String>::new());
    let mut short = good();
    let fields = short.as_object_mut().unwrap();
    for name in [
        "billing_address",
        "shipping_method",
        "discount_code",
        "payment_provider",
        "priority",
        "on_shortage",
        "expected_total",
        "metadata",
    ] {
        fields.remove(name);
    }
    assert_eq!(faults(&short), Vec::<String>::new());
}

#[test]
fn each_fault_has_its_field_and_code() {
    for (pointer, value, wanted) in [
        ("/lines/0/quantity", json!(0), "lines[0].quantity: out_of_range"),
        ("/lines/0/quantity", json!(-1), "lines[0].quantity: out_of_range"),
        ("/lines/0/quantity", json!(1_000_000_000_000_i64), "lines[0].quantity: out_of_range"),
        ("/lines/0/quantity", json!(1e30), "lines[0].quantity: out_of_range"),
        ("/lines/0/quantity", json!(1.5), "lines[0].quantity: wrong_type"),
        ("/lines/0/quantity", json!("1"), "lines[0].quantity: wrong_type"),
        ("/lines/0/quantity", json!(null), "lines[0].quantity: wrong_type"),
        ("/lines/0/sku", json!("NOPE"), "lines[0].sku: unknown_sku"),
        ("/lines/0", json!(7), "lines[0]: wrong_type"),
        ("/lines", json!([]), "lines: empty"),
        ("/lines", json!({}), "lines: wrong_type"),
        ("/currency", json!("XTS"), "currency: unknown_currency"),
        ("/shipping_address/country", json!("XX"), "shipping_address.country: unknown_country"),
        ("/shipping_address/city", json!(" "), "shipping_address.city: empty"),
        ("/customer/email", json!("a.example.com"), "customer.email: bad_email"),
        ("/customer/email", json!("a@b@example.com"), "customer.email: bad_email"),
        ("/customer/email", json!("a@example.com\nBcc: x@y.z"), "customer.email: bad_characters"),
        ("/customer/name", json!("n".repeat(201)), "customer.name: too_long"),
        ("/customer/id", json!("guest:cart_1"), "customer.id: reserved"),
        ("/customer/locale", json!("english please"), "customer.locale: bad_locale"),
        ("/priority", json!("asap"), "priority: unknown_value"),
        ("/priority", json!(null), "priority: wrong_type"),
        ("/on_shortage", json!("maybe"), "on_shortage: unknown_value"),
        ("/payment_provider", json!("cash"), "payment_provider: unknown_value"),
        ("/shipping_method", json!("pigeon"), "shipping_method: unknown_value"),
        ("/expected_total", json!(-1), "expected_total: out_of_range"),
        ("/metadata", json!({"note": "x".repeat(16 * 1024)}), "metadata: too_large"),
        ("/metadata", json!({"note": "\0"}), "metadata: bad_characters"),
        ("/metadata", json!([]), "metadata: wrong_type"),
    ] {
        assert_eq!(faults(&with(pointer, value.clone())), [wanted], "{pointer} = {value}");
    }
}

#[test]
fn one_answer_names_them_all() {
    let body = json!({
        "customer": {"email": "nobody", "nickname": "A"},
        "currency": "USD",
        "lines": [{"sku": "NOPE", "quantity": 0}, {"quantity": 1, "colour": "blue"}],
        "shipping_address": {"name": "A", "country": "XX"},
        "coupon": "SAVE"
    });
    assert_eq!(
        faults(&body),
        [
            "cart_id: missing",
            "customer.email: bad_email",
            "customer.name: missing",
            "customer.nickname: unknown_field",
            "lines[0].sku: unknown_sku",
            "lines[0].quantity: out_of_range",
            "lines[1].sku: missing",
            "lines[1].colour: unknown_field",
            "shipping_address.address_line1: missing",
            "shipping_address.city: missing",
            "shipping_address.country: unknown_country",
            "coupon: unknown_field",
        ]
    );
}

#[test]
fn a_hundred_lines_pass_and_one_more_does_not() {
    let line = good()["lines"][0].clone();
    assert_eq!(faults(&with("/lines", vec![line.clone(); 100].into())), Vec::<String>::new());
    assert_eq!(faults(&with("/lines", vec![line; 101].into())), ["lines: too_many"]);
}

#[test]
fn a_hostile_body_gets_a_bounded_answer() {
    let mut body = good();
    for n in 0..2_000 {
        body[format!("x{n}")] = json!(1);
    }
    let found = faults(&body);
    assert_eq!(found.len(), 501);
    assert_eq!(found.last().unwrap(), ": more");
}

#[test]
fn what_the_door_does_not_know_the_worker_judges() {
    let mut body = good();
    body["currency"] = json!("XTS");
    body["lines"][0]["sku"] = json!("NOPE");
    assert!(OrderIntentBody::read(body, Known::default()).is_ok());
}

proptest::proptest! {
    /// Whatever the checks let through, serde reads: the two can not drift apart unnoticed.
    #[test]
    fn nothing_passes_the_checks_that_can_not_be_read(at in 0_usize..13, kind in 0_usize..6) {
        let mut body = good();
        let value = [json!(null), json!(true), json!(3), json!("text"), json!([]), json!({})][kind].clone();
        let name = body.as_object().unwrap().keys().nth(at).unwrap().clone();
        body[name] = value;
        let mut found = Faults::default();
        check_body(&body, Known::default(), &mut found);
        let readable = serde_json::from_value::<OrderIntentBody>(body).is_ok();
        proptest::prop_assert!(!found.list().is_empty() || readable);
    }
}
