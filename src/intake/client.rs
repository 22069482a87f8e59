//! From which address a visitor comes, as far as anybody says who may be believed.
//!
//! The web tier speaks for its visitors and says so in `X-Client-Address`; its own address is nobody's. A proxy in front of
//! us is believed where `intake.trusted_proxies` names it: then the last address in `X-Forwarded-For` that is no such proxy's
//! is the visitor's, because anybody can write what stands before. Everybody else is where the connection comes from.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};

use crate::auth::{Principal, Role};
use crate::config::{Network, site, visitor};

/// What the web tier says its visitor's address in.
const SAID: &str = "x-client-address";
/// What proxies append the address to that they were asked from.
const FORWARDED: &str = "x-forwarded-for";

/// The network that counts as one client; none where nobody can tell.
pub(super) fn address(
    caller: &Principal,
    headers: &HeaderMap,
    connection: &Extensions,
    trusted: &[Network],
) -> Option<String> {
    let address = if caller.role == Role::Service {
        headers.get(SAID)?.to_str().ok()?.trim().parse().ok()?
    } else {
        let ConnectInfo(peer) = connection.get::<ConnectInfo<SocketAddr>>()?;
        let forwarded = headers.get_all(FORWARDED).iter().filter_map(|value| value.to_str().ok());
        visitor(peer.ip(), forwarded, trusted)
    };
    Some(site(address).to_string())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn found(role: Role, headers: &[(&'static str, &'static str)]) -> Option<String> {
        let caller = Principal { tenant: "shop".to_owned(), role, subject: None, key: None };
        let trusted = [Network::try_from("10.0.0.0/8".to_owned()).unwrap()];
        let mut connection = Extensions::new();
        connection.insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 4711))));
        let headers = headers.iter().map(|(name, value)| {
            (axum::http::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        address(&caller, &headers.collect(), &connection, &trusted)
    }

    #[test]
    fn the_web_tier_says_whose_visit_it_is_and_is_nobody_itself() {
        assert_eq!(found(Role::Service, &[]), None);
        assert_eq!(found(Role::Service, &[("x-forwarded-for", "203.0.113.7")]), None);
        assert_eq!(found(Role::Service, &[("x-client-address", "203.0.113.7")]).unwrap(), "203.0.113.7");
        assert_eq!(
            found(Role::Service, &[("x-client-address", "2001:db8:1:2:3:4:5:6")]).unwrap(),
            "2001:db8:1:2::"
        );
    }

    #[test]
    fn of_what_proxies_say_the_last_that_is_no_proxy_counts() {
        for (said, address) in [
            ("203.0.113.7", "203.0.113.7"),
            ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
            ("198.51.100.1, 203.0.113.7, 10.9.9.9", "203.0.113.7"),
            ("unknown", "10.0.0.1"),
        ] {
            assert_eq!(found(Role::Customer, &[("x-forwarded-for", said)]).unwrap(), address, "{said}");
        }
        // What a customer says of itself counts for nothing.
        assert_eq!(found(Role::Customer, &[("x-client-address", "203.0.113.7")]).unwrap(), "10.0.0.1");
    }
}
