//! EasyPost's words one by one: the codes that may mean a bought label, what a carrier says of a refund, where a parcel is,
//! and which parts of an error are repeated.

use super::*;

fn error(status: u16, code: &str, errors: &Value) -> Prepared {
    let error =
        json!({"code": code, "message": "A sentence that may quote 179 N Harbor Dr.", "errors": errors});
    (status, Vec::new(), json!({ "error": error }).to_string())
}

async fn bought_despite(answer: Prepared) -> Failure {
    let replay = Replay::of([answer]).await;
    Failure::from(client(&replay).buy("shp_1", "rate_1", None).await.unwrap_err())
}

/// Their status is not documented, so that none may matter.
#[tokio::test]
async fn each_code_that_may_mean_a_bought_label_is_looked_into_whatever_its_status_is() {
    for (theirs, ours) in [
        ("SHIPMENT.POSTAGE.EXISTS", "postage_exists"),
        ("SHIPMENT.PURCHASE.IN_PROGRESS", "purchase_in_progress"),
        ("SHIPMENT.POSTAGE.NO_RESPONSE", "carrier_silent"),
        ("SHIPMENT.POSTAGE.TIMED_OUT", "carrier_silent"),
        ("SHIPMENT.RATE.UNAVAILABLE", "rate_gone"),
    ] {
        for status in [400, 409, 422, 429, 500, 504] {
            let failure = bought_despite(error(status, theirs, &json!([]))).await;
            assert_eq!((failure.class, failure.code), (Class::Unknown, ours), "{status} {theirs}: {failure}");
        }
    }
}

/// A purchase names two things: which of them is not known, they do not say; without its shipment, new rates can't be had either.
#[tokio::test]
async fn a_purchase_of_something_that_they_do_not_know_is_one_of_a_rate_that_is_gone() {
    let failure = bought_despite(error(404, "NOT_FOUND", &json!([]))).await;
    assert_eq!((failure.class, failure.code), (Class::Unknown, "rate_gone"), "{failure}");
    let replay = Replay::of([error(404, "NOT_FOUND", &json!([]))]).await;
    let failure = Failure::from(client(&replay).rerate("shp_1").await.unwrap_err());
    assert_eq!(failure.class, Class::Permanent, "{failure}");
}

/// The list of an error holds objects, or plain sentences; 5xx may hold no list at all. A sentence may quote an address.
#[tokio::test]
async fn an_error_is_told_by_its_code_and_its_fields_and_no_sentence_is_repeated() {
    for (errors, told) in [
        (
            json!([{"field": "zip", "message": "179 N Harbor Dr", "suggestion": null}]),
            "PARAMETER.INVALID zip",
        ),
        (
            json!([{"field": "zip", "message": "x"}, {"field": "city", "message": "y"}]),
            "PARAMETER.INVALID zip,city",
        ),
        (json!(["No house at 179 N Harbor Dr."]), "PARAMETER.INVALID"),
        (json!([]), "PARAMETER.INVALID"),
        (json!("179 N Harbor Dr"), "PARAMETER.INVALID"),
        (Value::Null, "PARAMETER.INVALID"),
    ] {
        let failure = bought_despite(error(422, "PARAMETER.INVALID", &errors)).await;
        assert_eq!(failure.detail, format!("easypost: refused: 422 {told} (request unknown)"), "{errors}");
    }
}

#[tokio::test]
async fn each_word_on_a_label_s_refund_is_told_as_it_is() {
    for word in [Some("submitted"), Some("refunded"), Some("rejected"), Some("not_applicable"), None] {
        let mut answer = recorded("04-shipment-refund").response.body;
        answer["refund_status"] = json!(word);
        let body = answer.to_string();
        let replay = Replay::of([(200, Vec::new(), body.clone()), (200, Vec::new(), body)]).await;
        let asked = client(&replay).refund("shp_1").await.unwrap();
        let looked = client(&replay).retrieve("shp_1").await.unwrap();
        assert_eq!((asked.refund_status.as_deref(), looked.refund_status.as_deref()), (word, word));
    }
}

/// Any of their 28 finer words, and one of tomorrow, is taken along and decides nothing.
#[tokio::test]
async fn each_word_of_a_tracker_is_told_as_it_is_whatever_its_finer_word_says() {
    let tracker = recorded("08-tracker-create").response.body;
    for (status, detail) in [
        ("unknown", json!("unknown")),
        ("pre_transit", json!("label_created")),
        ("in_transit", json!("arrived_at_facility")),
        ("out_for_delivery", json!("out_for_delivery")),
        ("delivered", json!("arrived_at_destination")),
        ("available_for_pickup", json!("held")),
        ("return_to_sender", json!("return")),
        ("failure", json!("address_correction")),
        ("cancelled", Value::Null),
        ("error", json!("a_word_of_tomorrow")),
    ] {
        let mut tracker = tracker.clone();
        (tracker["status"], tracker["status_detail"]) = (json!(status), detail.clone());
        let replay = Replay::of([(200, Vec::new(), tracker.to_string())]).await;
        let seen = client(&replay).tracker("trk_1").await.unwrap();
        assert_eq!((seen.status.as_str(), seen.status_detail.as_deref()), (status, detail.as_str()));
    }
}
