//! The document of the operators' JSON, inside the binary, for whoever writes a client. It asks for no key: it says what
//! anybody can read in the repository.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

const DOCUMENT: &str = include_str!("../../../config/openapi-ops.json");

pub(super) async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "max-age=300")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::super::problem::Code;
    use super::super::routes;
    use super::*;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    #[test]
    fn every_route_is_in_the_document_and_no_other() {
        let document = document();
        let told: BTreeSet<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let served: BTreeSet<_> = routes().map(|(path, _)| path).into_iter().collect();
        assert_eq!(told, served);
    }

    #[test]
    fn every_problem_is_in_the_document() {
        let names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(
            document()["components"]["schemas"]["Problem"]["properties"]["code"]["enum"],
            json!(names)
        );
    }
}
