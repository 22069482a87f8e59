//! EasyPost's recorded answers, and what each of its refusals becomes.

use serde::Deserialize;

use super::*;
use crate::domain::shipment::{Parcel, RatePolicy, choose_rate};
use crate::job::{Class, Failure};
use crate::provider::replay::{Prepared, Replay};

mod words;

/// One recorded request and its answer.
#[derive(Deserialize)]
struct Recorded {
    request: RecordedRequest,
    response: RecordedResponse,
}

#[derive(Deserialize)]
struct RecordedRequest {
    method: String,
    url: String,
    body: Value,
}

#[derive(Deserialize)]
struct RecordedResponse {
    status: u16,
    body: Value,
}

fn recorded(name: &str) -> Recorded {
    let path = format!("{}/tests/data/easypost/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl Recorded {
    fn answer(&self) -> Prepared {
        let body = self.response.body.as_str().map_or_else(|| self.response.body.to_string(), str::to_owned);
        (self.response.status, Vec::new(), body)
    }

    /// `POST /v2/shipments`, as recorded.
    fn line(&self) -> String {
        let url: Url = self.request.url.parse().unwrap();
        format!("{} {}", self.request.method, url.path())
    }
}

fn client(replay: &Replay) -> EasyPost {
    EasyPost::new(&EasyPostSettings {
        api_key: SecretString::from("EZTK1"),
        webhook_secrets: Vec::new(),
        webhook_v2: false,
        api_base: format!("{}/v2", replay.base),
        timeout_ms: 500,
    })
    .unwrap()
}

fn shipment() -> CreateShipment {
    let address = Address {
        name: "Elizabeth Swan".into(),
        street1: "179 N Harbor Dr".into(),
        street2: None,
        city: "Redondo Beach".into(),
        state: Some("CA".into()),
        zip: Some("90277".into()),
        country: "US".into(),
        phone: None,
        email: None,
    };
    let value = Amount::new(4_650, Currency::USD);
    let item = CustomsItem {
        description: "Sweet shirts".into(),
        quantity: 2,
        value,
        weight_g: 311,
        hs_code: "620520".into(),
        origin: "US".into(),
        sku: "SHIRT-M".into(),
    };
    CreateShipment {
        reference: "label:ord_1:1:1".into(),
        to: address.clone(),
        from: address,
        parcel: Parcel { package: "mailer".into(), weight_g: 436, sides_mm: [254, 203, 101] },
        customs: Some(Customs { signer: "Steve Brule".into(), items: vec![item] }),
        invoice_number: "OF-1001".into(),
    }
}

#[tokio::test]
async fn creating_says_what_the_official_client_says() {
    let recording = recorded("01-shipment-create");
    let replay = Replay::of([recording.answer()]).await;
    let seen = client(&replay).create(&shipment()).await.unwrap();
    assert_eq!(seen.id, "shp_16578f588f9546ec914afd2474e24ff5");
    assert_eq!((seen.label, seen.refund_status), (None, None));
    let chosen = choose_rate(&seen.rates, &RatePolicy::default(), Some(3)).unwrap();
    assert_eq!((chosen.service.as_str(), chosen.price), ("GroundAdvantage", Amount::new(607, Currency::USD)));

    let asked = &replay.asked()[0];
    assert_eq!(asked.line, recording.line());
    assert_eq!(asked.headers["authorization"], "Basic RVpUSzE6", "the key as user, no password");
    let ours: Value = serde_json::from_str(&asked.body).unwrap();
    let (ours, theirs) = (&ours["shipment"], &recording.request.body["shipment"]);
    for part in ["to_address", "from_address", "parcel", "customs_info", "reference", "options"] {
        assert!(ours.get(part).is_some() && theirs.get(part).is_some(), "{part}");
    }
    assert_eq!(ours["parcel"], json!({"length": 10.0, "width": 8.0, "height": 4.0, "weight": 15.4}));
    assert_eq!(ours["customs_info"]["customs_items"][0]["value"], json!(46.5));
}

#[tokio::test]
async fn buying_tells_the_label_and_its_exact_price() {
    let recording = recorded("02-shipment-buy");
    let replay = Replay::of([recording.answer()]).await;
    let rate_id = recording.request.body["rate"]["id"].as_str().unwrap();
    let seen = client(&replay).buy("shp_16578f588f9546ec914afd2474e24ff5", rate_id, None).await.unwrap();
    let label = seen.label.unwrap();
    assert_eq!(label.tracking_code, "9400100208303109505657");
    assert_eq!((label.carrier.as_str(), label.service.as_str()), ("USPS", "GroundAdvantage"));
    assert_eq!(label.cost, Some(Amount::new(607, Currency::USD)));
    assert_eq!(label.tracker_id.as_deref(), Some("trk_279431562ef84af89555e5c8a2029b2f"));
    let asked = &replay.asked()[0];
    assert_eq!(asked.line, recording.line());
    assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap(), recording.request.body);
}

#[tokio::test]
async fn looking_and_refunding_are_read_from_their_recordings() {
    let (look, refund) = (recorded("06-shipment-retrieve"), recorded("04-shipment-refund"));
    let replay = Replay::of([look.answer(), refund.answer()]).await;
    let seen = client(&replay).retrieve("shp_8412b33c1ad042049c1f2db46077cad2").await.unwrap();
    assert_eq!(seen.label, None, "not bought yet");
    let seen = client(&replay).refund("shp_700d2963c43b4847883c955eeb846b13").await.unwrap();
    assert_eq!(seen.refund_status.as_deref(), Some("submitted"));
    let lines: Vec<String> = replay.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(lines, [look.line(), refund.line()]);
}

#[tokio::test]
async fn a_shipment_that_nobody_carries_says_why() {
    let replay = Replay::of([recorded("25-rate-without-rates").answer()]).await;
    let seen = client(&replay).create(&shipment()).await.unwrap();
    assert!(seen.rates.is_empty());
    assert_eq!((seen.messages[0].carrier.as_str(), seen.messages[0].kind.as_str()), ("USPS", "rate_error"));
}

#[tokio::test]
async fn every_refusal_of_a_purchase_has_its_class() {
    let away = Class::Unavailable(Dependency::EasyPost);
    for (name, class, code) in [
        ("12-error-address-verify-failure", Class::Permanent, "refused"),
        ("14-error-missing-parameter", Class::Permanent, "refused"),
        ("15-error-errors-are-strings", Class::Unknown, "rate_gone"),
        ("18-error-api-key", away, "credentials_refused"),
        ("19-error-already-bought", Class::Unknown, "postage_exists"),
        ("20-error-rate-limited", Class::Retry, "throttled"),
        ("21-error-purchase-in-progress", Class::Unknown, "purchase_in_progress"),
        ("22-error-carrier-no-response", Class::Unknown, "carrier_silent"),
        ("23-error-insufficient-funds", Class::Permanent, "refused"),
        ("24-error-gateway-html", Class::Unknown, "provider_away"),
    ] {
        let replay = Replay::of([recorded(name).answer()]).await;
        let failure = Failure::from(client(&replay).buy("shp_1", "rate_1", None).await.unwrap_err());
        assert_eq!((failure.class, failure.code), (class, code), "{name}: {failure}");
        assert_eq!(replay.asked().len(), 1, "sent once");
    }
}

#[tokio::test]
async fn every_status_of_a_purchase_has_its_class_whatever_its_body_is() {
    let away = Class::Unavailable(Dependency::EasyPost);
    for (status, class, code) in [
        (400, Class::Permanent, "refused"),
        (401, away, "credentials_refused"),
        (402, Class::Permanent, "refused"),
        (403, away, "credentials_refused"),
        (404, Class::Unknown, "rate_gone"),
        (405, Class::Permanent, "refused"),
        (422, Class::Permanent, "refused"),
        (429, Class::Retry, "throttled"),
        (500, Class::Unknown, "provider_broken"),
        (503, Class::Unknown, "provider_away"),
    ] {
        for body in ["", "<html>sorry</html>", "{\"error\":\"a sentence\"}"] {
            let replay = Replay::of([(status, Vec::new(), body.to_owned())]).await;
            let failure = Failure::from(client(&replay).buy("shp_1", "rate_1", None).await.unwrap_err());
            assert_eq!((failure.class, failure.code), (class, code), "{status} {body}: {failure}");
        }
    }
}

#[tokio::test]
async fn an_outage_while_looking_or_creating_is_no_riddle() {
    let answer = || recorded("24-error-gateway-html").answer();
    let replay = Replay::of([answer(), answer()]).await;
    let away = Class::Unavailable(Dependency::EasyPost);
    assert_eq!(Failure::from(client(&replay).retrieve("shp_1").await.unwrap_err()).class, away);
    assert_eq!(Failure::from(client(&replay).create(&shipment()).await.unwrap_err()).class, away);
}

#[tokio::test]
async fn half_a_label_is_not_read_as_none() {
    let mut half = recorded("02-shipment-buy").response.body;
    half["tracking_code"] = Value::Null;
    let replay = Replay::of([(200, Vec::new(), half.to_string())]).await;
    let failure = Failure::from(client(&replay).buy("shp_1", "rate_1", None).await.unwrap_err());
    assert_eq!((failure.class, failure.code), (Class::Unknown, "unreadable_answer"));
}

#[tokio::test]
async fn an_id_can_t_lead_to_another_path() {
    let replay = Replay::of([]).await;
    assert!(client(&replay).retrieve("../api_keys?x=").await.is_err());
    assert_eq!(replay.asked()[0].line, "GET /v2/shipments/..%2Fapi_keys%3Fx=");
}
