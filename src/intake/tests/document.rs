//! The document of the API says what is served, and nothing else.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::openapi::DOCUMENT;
use super::super::problem::Code;
use super::super::routes;
use super::house::{open, problem};
use crate::domain::fault::FaultCode;

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

#[test]
fn every_route_is_in_the_document_and_no_other() {
    let document = document();
    let documented: BTreeSet<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let served = routes().map(|(path, _)| path).into_iter().chain(["/healthz", "/readyz"]).collect();
    assert_eq!(documented, served);
}

#[test]
fn every_problem_and_every_fault_is_in_the_document() {
    let schemas = &document()["components"]["schemas"];
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(schemas["Problem"]["properties"]["code"]["enum"], json!(codes));
    for (told, code) in
        schemas["Problem"]["properties"]["code"]["x-codes"].as_array().unwrap().iter().zip(Code::ALL)
    {
        assert_eq!((&told["code"], &told["status"]), (&json!(code.name()), &json!(code.status().as_u16())));
        assert_eq!(told["retryable"], json!(code.retryable()));
    }
    assert_eq!(schemas["Fault"]["properties"]["code"]["enum"], json!(FaultCode::ALL));
}

#[tokio::test]
async fn documented_methods_are_served_and_others_are_refused_by_name() {
    let house = open().await;
    for (path, methods) in document()["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "int_00000000000000000000000000");
        for method in ["get", "post", "put"] {
            let request = match method {
                "get" => house.get(&path, ""),
                "post" => house.post(&path),
                _ => house.put(&path),
            };
            let answer = request.send().await.unwrap();
            let is_served = methods.get(method).is_some();
            assert_eq!(answer.status() != 405, is_served, "{method} {path}");
            if !is_served {
                assert!(answer.headers().contains_key("allow"), "{method} {path}");
                assert_eq!(problem(answer).await.1, "method_not_allowed");
            }
        }
    }
    let answer = house.get("/v1/nothing", &house.service).send().await.unwrap();
    assert_eq!(problem(answer).await.1, "not_found");
}

#[tokio::test]
async fn metrics_are_on_the_health_port_alone() {
    let house = open().await;
    let private = format!("http://{}", house.intake.health_address);
    for (page, status) in [("/metrics", 200), ("/healthz", 200)] {
        assert_eq!(reqwest::get(format!("{private}{page}")).await.unwrap().status(), status, "{page}");
    }
    assert_eq!(house.get("/metrics", "").send().await.unwrap().status(), 404);
    // Ready as soon as Redis has answered once.
    for _ in 0..200 {
        if reqwest::get(format!("{private}/readyz")).await.unwrap().status() == 200 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("never ready");
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let house = open().await;
    let page = house.get("/docs", "").send().await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let text = page.text().await.unwrap();
    assert!(!text.contains("http://") && !text.contains("https://"));
}
