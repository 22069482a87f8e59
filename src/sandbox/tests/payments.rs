//! Stripe: keys, cards, states, events; and the client that the fleet uses.

use ::stripe::{ClientBuilder, IdempotencyKey, RequestStrategy};
use ring::hmac;
use stripe_core::payment_intent::{
    CreatePaymentIntent, CreatePaymentIntentAutomaticPaymentMethods, RetrievePaymentIntent,
};

use super::*;

const FIFTY: &[(&str, &str)] = &[
    ("amount", "5000"),
    ("currency", "usd"),
    ("metadata[order]", "ord_1"),
    ("automatic_payment_methods[enabled]", "true"),
];

async fn body(answer: reqwest::Response) -> (u16, Value) {
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn created(house: &House) -> String {
    let (status, intent) = body(house.stripe(Method::POST, "payment_intents", "", FIFTY).await).await;
    assert_eq!(status, 200, "{intent}");
    intent["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_payment_is_confirmed_and_a_signed_event_says_so() {
    let mut house = House::new().await;
    let id = created(&house).await;
    let card = [("payment_method", "pm_card_visa")];
    let paid = house.stripe(Method::POST, &format!("payment_intents/{id}/confirm"), "", &card).await;
    let (status, intent) = body(paid).await;
    assert_eq!((status, intent["status"].as_str()), (200, Some("succeeded")));
    assert_eq!(intent["amount_received"], 5000);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let (headers, body, event) = house.webhook().await;
        let signature = headers["stripe-signature"].to_str().unwrap();
        let (at, v1) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"whsec_house");
        assert_eq!(world::hex("", hmac::sign(&key, format!("{at}.{body}").as_bytes()).as_ref()), v1);
        assert_eq!(event["data"]["object"]["id"], id.as_str());
        let listed =
            house.stripe(Method::GET, &format!("events/{}", event["id"].as_str().unwrap()), "", &[]).await;
        assert_eq!(listed.json::<Value>().await.unwrap(), event);
        kinds.push(event["type"].as_str().unwrap().to_owned());
    }
    kinds.sort();
    assert_eq!(kinds, ["payment_intent.created", "payment_intent.succeeded"]);
    assert_eq!(house.truth("payments").await[0]["status"], "succeeded");
    house.close().await;
}

#[tokio::test]
async fn a_key_replays_its_first_answer_and_refuses_other_parameters() {
    let house = House::new().await;
    let key = fresh_key();
    let first = house.stripe(Method::POST, "payment_intents", &key, FIFTY).await;
    assert!(!first.headers().contains_key("idempotent-replayed"));
    let again = house.stripe(Method::POST, "payment_intents", &key, FIFTY).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(first.text().await.unwrap(), again.text().await.unwrap());
    let other = [("amount", "6000"), ("currency", "usd")];
    let (status, error) = body(house.stripe(Method::POST, "payment_intents", &key, &other).await).await;
    assert_eq!((status, error["error"]["type"].as_str()), (400, Some("idempotency_error")));
    assert_eq!(house.truth("payments").await.len(), 1);
    let counts = house.control(Method::GET, "requests", &json!({})).await;
    assert_eq!(counts["stripe"]["POST /v1/payment_intents"], 3);
    house.close().await;
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let house = House::new().await;
    let key = fresh_key();
    let small = [("amount", "49"), ("currency", "usd")];
    let (status, error) = body(house.stripe(Method::POST, "payment_intents", &key, &small).await).await;
    assert_eq!((status, error["error"]["code"].as_str()), (400, Some("amount_too_small")));
    let (status, _) = body(house.stripe(Method::POST, "payment_intents", &key, FIFTY).await).await;
    assert_eq!(status, 200);
    house.close().await;
}

#[tokio::test]
async fn a_running_key_is_in_use() {
    let house = House::new().await;
    let key = fresh_key();
    let slow = json!([{"at": "stripe.create", "what": {"delay": {"ms": 1500}}, "next": 1}]);
    house.control(Method::POST, "faults", &slow).await;
    let first = house.stripe(Method::POST, "payment_intents", &key, FIFTY);
    let second = async {
        while house.truth("requests").await.is_empty() {
            tokio::task::yield_now().await;
        }
        body(house.stripe(Method::POST, "payment_intents", &key, FIFTY).await).await
    };
    let (first, (status, error)) = tokio::join!(first, second);
    assert_eq!((status, error["error"]["code"].as_str()), (409, Some("idempotency_key_in_use")));
    assert_eq!(first.status(), 200);
    house.close().await;
}

#[tokio::test]
async fn a_failure_of_the_server_is_kept_under_the_key_also_when_the_work_was_done() {
    let house = House::new().await;
    let key = fresh_key();
    let fail = json!([{"at": "stripe.create", "what": {"fail": {"status": 500, "after": true}}, "next": 1}]);
    house.control(Method::POST, "faults", &fail).await;
    for replayed in [false, true] {
        let answer = house.stripe(Method::POST, "payment_intents", &key, FIFTY).await;
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers().contains_key("idempotent-replayed"), replayed);
    }
    assert_eq!(house.truth("payments").await.len(), 1, "the work was done behind the 500");
    let listed = body(house.stripe(Method::GET, "payment_intents?limit=10", "", &[]).await).await.1;
    assert_eq!(listed["data"][0]["metadata"]["order"], "ord_1", "and a look finds it");
    house.close().await;
}

#[tokio::test]
async fn cards_are_refused_and_banks_want_to_see_the_buyer() {
    let house = House::new().await;
    let id = created(&house).await;
    let confirm = format!("payment_intents/{id}/confirm");
    let refused = [("payment_method", "pm_card_visa_chargeDeclinedInsufficientFunds")];
    let (status, error) = body(house.stripe(Method::POST, &confirm, "", &refused).await).await;
    assert_eq!((status, error["error"]["type"].as_str()), (402, Some("card_error")));
    assert_eq!(error["error"]["decline_code"], "insufficient_funds");
    assert_eq!(error["error"]["payment_intent"]["status"], "requires_payment_method");
    let seen = [("payment_method", "pm_card_threeDSecure2Required")];
    let (_, intent) = body(house.stripe(Method::POST, &confirm, "", &seen).await).await;
    assert_eq!(intent["status"], "requires_action");
    let (_, intent) = body(house.stripe(Method::POST, &confirm, "", &[]).await).await;
    assert_eq!(intent["status"], "succeeded");
    let cancel = format!("payment_intents/{id}/cancel");
    let (status, error) = body(house.stripe(Method::POST, &cancel, "", &[]).await).await;
    assert_eq!((status, error["error"]["code"].as_str()), (400, Some("payment_intent_unexpected_state")));
    house.close().await;
}

#[tokio::test]
async fn a_browser_confirms_with_the_client_secret_and_nothing_else() {
    let house = House::new().await;
    let (_, intent) = body(house.stripe(Method::POST, "payment_intents", "", FIFTY).await).await;
    let url = format!("{}/v1/payment_intents/{}/confirm", house.base, intent["id"].as_str().unwrap());
    let confirm = |secret: &str| {
        let form = format!("payment_method=pm_card_visa&client_secret={secret}");
        house.client.post(&url).basic_auth("pk_test_any", Some("")).body(form).send()
    };
    assert_eq!(confirm("guessed").await.unwrap().status(), 404);
    assert_eq!(confirm(intent["client_secret"].as_str().unwrap()).await.unwrap().status(), 200);
    let wrong = house.client.get(format!("{}/v1/account", house.base)).bearer_auth("sk_test_wrong");
    assert_eq!(wrong.send().await.unwrap().status(), 401);
    house.close().await;
}

#[tokio::test]
async fn a_refused_webhook_comes_again_until_it_is_taken() {
    let mut house = House::new().await;
    house.refuse.store(2, Ordering::SeqCst);
    let id = created(&house).await;
    assert_eq!(house.webhook().await.2["data"]["object"]["id"], id.as_str());
    let delivered = loop {
        if let Some(delivered) = house.truth("webhooks").await.pop() {
            break delivered;
        }
    };
    assert_eq!((&delivered["tries"], &delivered["object"]), (&json!(3), &json!(id)));
    house.close().await;
}

#[tokio::test]
async fn faults_lose_a_webhook_and_let_one_overtake_another() {
    let mut house = House::new().await;
    let late = json!([{"at": "webhook.stripe", "what": "reorder", "next": 1}]);
    house.control(Method::POST, "faults", &late).await;
    let (first, second) = (created(&house).await, created(&house).await);
    assert_eq!(house.webhook().await.2["data"]["object"]["id"], second.as_str());
    assert_eq!(house.webhook().await.2["data"]["object"]["id"], first.as_str());
    let lose = json!([{"at": "webhook.stripe", "what": "drop_before", "next": 1}]);
    house.control(Method::POST, "faults", &lose).await;
    let (_lost, third) = (created(&house).await, created(&house).await);
    assert_eq!(house.webhook().await.2["data"]["object"]["id"], third.as_str());
    house.close().await;
}

#[tokio::test]
async fn never_more_is_given_back_than_was_taken() {
    let house = House::new().await;
    let id = created(&house).await;
    let refund = async |amount: &str| {
        let form = [("payment_intent", id.as_str()), ("amount", amount)];
        body(house.stripe(Method::POST, "refunds", "", &form).await).await
    };
    assert_eq!(refund("100").await.0, 400, "nothing was taken yet");
    let card = [("payment_method", "pm_card_visa")];
    house.stripe(Method::POST, &format!("payment_intents/{id}/confirm"), "", &card).await;
    assert_eq!(refund("2000").await.0, 200);
    assert_eq!(refund("3001").await.0, 400);
    assert_eq!(refund("").await.1["amount"], 3000, "without an amount: the rest");
    assert_eq!(refund("1").await.1["error"]["code"], "charge_already_refunded");
    let listed = house.stripe(Method::GET, &format!("refunds?payment_intent={id}"), "", &[]).await;
    assert_eq!(body(listed).await.1["data"].as_array().unwrap().len(), 2);
    assert_eq!(house.truth("refunds").await.len(), 2);
    assert_eq!(house.truth("payments").await[0]["amount_refunded"], 5000);
    house.close().await;
}

#[tokio::test]
async fn a_refund_goes_where_banks_and_customers_take_it_and_what_comes_to_nothing_is_the_payment_s_again() {
    let mut house = House::new().await;
    let ways: [&[&str]; 3] = [
        &["requires_action", "pending", "succeeded", "failed"],
        &["requires_action", "canceled"],
        &["canceled"],
    ];
    for way in ways {
        let id = created(&house).await;
        let card = [("payment_method", "pm_card_pendingRefund")];
        house.stripe(Method::POST, &format!("payment_intents/{id}/confirm"), "", &card).await;
        let form = [("payment_intent", id.as_str())];
        let (_, refund) = body(house.stripe(Method::POST, "refunds", "", &form).await).await;
        assert_eq!(refund["status"], "pending");
        let refund = format!("refunds/{}", refund["id"].as_str().unwrap());
        for word in way {
            assert_eq!(
                house.control(Method::POST, &format!("{refund}/{word}"), &json!({})).await["status"],
                *word
            );
            let told = loop {
                let event = house.webhook().await.2;
                if event["data"]["object"]["status"] == *word && event["data"]["object"]["object"] == "refund"
                {
                    break event["type"].clone();
                }
            };
            assert_eq!(told, if *word == "failed" { "refund.failed" } else { "refund.updated" });
        }
        let over = house.client.post(format!("{}/_sandbox/{refund}/succeeded", house.base));
        assert_eq!(over.send().await.unwrap().status(), 400, "an end is an end");
        let left = house.truth("payments").await.pop().unwrap();
        assert_eq!((&left["id"], &left["amount_refunded"]), (&json!(id), &json!(0)), "{way:?}");
    }
    house.close().await;
}

#[tokio::test]
async fn what_there_is_not_is_not_found() {
    let house = House::new().await;
    for path in ["payment_intents/pi_none", "nonsense", "payment_intents/x/nonsense"] {
        let answer = house.stripe(Method::GET, path, "", &[]).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
    house.close().await;
}

#[tokio::test]
async fn faults_hold_a_webhook_and_repeat_it() {
    let mut house = House::new().await;
    let rules = json!([
        {"at": "webhook.stripe", "what": {"repeat": {"times": 1}}, "next": 1},
        {"at": "webhook.stripe", "what": "hold", "next": 1},
    ]);
    house.control(Method::POST, "faults", &rules).await;
    let held = created(&house).await;
    let free = created(&house).await;
    assert_eq!(house.webhook().await.2["data"]["object"]["id"], free.as_str());
    house.control(Method::POST, "webhooks/release", &json!({})).await;
    let (one, two) = (house.webhook().await.2, house.webhook().await.2);
    assert_eq!(one["data"]["object"]["id"], held.as_str());
    assert_eq!(one, two, "the same event, twice");
    house.close().await;
}

#[tokio::test]
async fn the_client_of_the_fleet_creates_and_retrieves() {
    let house = House::new().await;
    let key = IdempotencyKey::new(fresh_key()).unwrap();
    let client = ClientBuilder::new("sk_test_house")
        .url(format!("{}/", house.base))
        .request_strategy(RequestStrategy::Idempotent(key))
        .build()
        .unwrap();
    let create = || {
        CreatePaymentIntent::new(5000, stripe_types::Currency::USD)
            .metadata([("order".to_owned(), "ord_1".to_owned())])
            .automatic_payment_methods(CreatePaymentIntentAutomaticPaymentMethods::new(true))
    };
    let first = create().send(&client).await.unwrap();
    let again = create().send(&client).await.unwrap();
    assert_eq!(first.id, again.id);
    let found = RetrievePaymentIntent::new(first.id.clone()).send(&client).await.unwrap();
    assert_eq!((found.amount, found.client_secret), (5000, first.client_secret));
    assert_eq!(found.metadata["order"], "ord_1");
    assert_eq!(house.truth("payments").await.len(), 1);
    house.close().await;
}
