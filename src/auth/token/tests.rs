//! Which tokens open, and why each other is refused.

use serde_json::json;

use super::*;

const NOW: i64 = 1_700_000_000;
const SECRET: &str = "a shared secret of forty-one letters here";
/// An RSA key of 2048 bits; its private half was thrown away once it had signed [`RS256`].
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwul7P543VIcG3FVWmPSN
b/sNxHajdxmDVGLldr3orXk/XsChCwWt2oal6MAfNU+A+KItRTNULb6BmKH3zpAn
m76i/WnN4zbT9rov8RSP79DkcrTjlZmKqb9YDqopdQzfBYSsfSRkNT6gCcubxfdy
uKfnuhpUY9am04V88+uroc9C3pu1OBYUFSLU9hC4D/jrmLxVaA5cQaVv80CsDuDF
WCL4XlI6wa0QhQS4kdjznURdp6SnxbPs+Tfi7oVgH6qXcSqpImuflijrfOHYEaL5
ju+Bge7NHfhXBlKPAGE1lUkeHd15KzX4iiSFtN7YpUcNcoS9b5MiL2bCMUCnAnak
GQIDAQAB
-----END PUBLIC KEY-----";
/// What `openssl dgst -sha256 -sign` made of `{"sub":"cus_7","tenant":"shop","exp":1700000600,"nbf":1699999900}`.
const RS256: [&str; 3] = [
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9",
    "eyJzdWIiOiJjdXNfNyIsInRlbmFudCI6InNob3AiLCJleHAiOjE3MDAwMDA2MDAsIm5iZiI6MTY5OTk5OTkwMH0",
    "Li_2I5-OFLSarP7BdZSiTN6O8fOPu3ZI8WTulcd9FtH0tyxqp5PuPZ7xeMUVBDlFkPXQ61V5WDtBljNxvzIFzrpjtP5FFkZvRy7C8PNtC5pwrY\
     i0zz5ZxehtqbDVFai2i0yV0jTKBVlhBtMypjiyjlHeMNsQncL7DbNcFODScvPRDZp_owiC3CtUtOhAb3iNm489p8YNj6pnrNzHJeIIiv4HfIrB\
     2rNpa9ZPLkhQZYtSFlE4P83TaUUdi48IK5VexnE0n7DSsfYHNJng8ycz_YGed9AEso5oVWwxuMU4FWi8pzeV-aRhEHhPignzaTBXxThWdEXprU\
     5zTwPDzGDOXA",
];

fn tokens(secrets: &[&str], public_keys: &[&str]) -> Tokens {
    let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
    let public_keys: Vec<String> = public_keys.iter().map(|key| (*key).to_owned()).collect();
    let trust =
        Trust { secrets: &secrets, public_keys: &public_keys, leeway_seconds: 30, ..Trust::default() };
    Tokens::new(&trust).unwrap()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token that is signed with a shared secret, whatever its head says.
fn made(head: &Value, claims: &Value, secret: &str) -> String {
    let signed = format!("{}.{}", part(head), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

fn hs256(claims: &Value) -> String {
    made(&json!({"alg": "HS256", "typ": "JWT"}), claims, SECRET)
}

fn claims() -> Value {
    json!({"sub": "cus_7", "tenant": "shop", "exp": NOW + 600})
}

#[test]
fn a_token_of_either_kind_names_its_customer() {
    let both = tokens(&["an older secret, of more than thirty letters", SECRET], &[PUBLIC_KEY]);
    for token in [hs256(&claims()), RS256.join(".")] {
        let customer = both.verify(&token, NOW).unwrap();
        assert_eq!((customer.tenant.as_str(), customer.role), ("shop", Role::Customer));
        assert_eq!((customer.subject.as_deref(), customer.key), (Some("cus_7"), None));
    }
}

#[test]
fn alg_none_opens_nothing() {
    let both = tokens(&[SECRET], &[PUBLIC_KEY]);
    for alg in ["none", "None", "HS512", "ES256", ""] {
        let signed = format!("{}.{}", part(&json!({ "alg": alg })), part(&claims()));
        assert_eq!(both.verify(&format!("{signed}."), NOW), Err(Refused::Algorithm), "{alg}");
    }
    let unnamed = made(&json!({"typ": "JWT"}), &claims(), SECRET);
    assert_eq!(both.verify(&unnamed, NOW), Err(Refused::Algorithm));
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let head = json!({"alg": "HS256"});
    let inner = der::rsa_public_key(PUBLIC_KEY).unwrap();
    let forged = made(&head, &claims(), PUBLIC_KEY);
    assert_eq!(tokens(&[], &[PUBLIC_KEY]).verify(&forged, NOW), Err(Refused::Algorithm));
    assert_eq!(tokens(&[SECRET], &[PUBLIC_KEY]).verify(&forged, NOW), Err(Refused::Signature));
    let signed = format!("{}.{}", part(&head), part(&claims()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &inner), signed.as_bytes());
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
    assert_eq!(tokens(&[SECRET], &[PUBLIC_KEY]).verify(&forged, NOW), Err(Refused::Signature));
    let relabelled = format!("{}.{}.{}", part(&head), RS256[1], RS256[2]);
    assert_eq!(tokens(&[SECRET], &[PUBLIC_KEY]).verify(&relabelled, NOW), Err(Refused::Signature));
}

#[test]
fn a_signature_of_another_key_or_over_other_words_is_refused() {
    let both = tokens(&[SECRET], &[PUBLIC_KEY]);
    let other = made(&json!({"alg": "HS256"}), &claims(), "another secret, of more than thirty letters");
    assert_eq!(both.verify(&other, NOW), Err(Refused::Signature));
    let changed = part(&json!({"sub": "cus_8", "tenant": "shop", "exp": NOW + 600}));
    for token in [hs256(&claims()), RS256.join(".")] {
        let parts: Vec<&str> = token.split('.').collect();
        let altered = format!("{}.{changed}.{}", parts[0], parts[2]);
        assert_eq!(both.verify(&altered, NOW), Err(Refused::Signature));
        assert_eq!(both.verify(&format!("{}.{}.", parts[0], parts[1]), NOW), Err(Refused::Signature));
    }
    assert_eq!(tokens(&[], &[]).verify(&hs256(&claims()), NOW), Err(Refused::Algorithm), "no key, no token");
}

#[test]
fn a_token_has_its_time_within_the_leeway() {
    let ours = tokens(&[SECRET], &[]);
    let at = |exp: i64, nbf: i64| {
        let mut claims = claims();
        claims["exp"] = json!(exp);
        claims["nbf"] = json!(nbf);
        ours.verify(&hs256(&claims), NOW).map(drop)
    };
    assert_eq!(at(NOW - 29, NOW), Ok(()));
    assert_eq!(at(NOW - 30, NOW), Err(Refused::Expired));
    assert_eq!(at(NOW + 1, NOW + 30), Ok(()));
    assert_eq!(at(NOW + 1, NOW + 31), Err(Refused::TooEarly));
    for exp in [json!("soon"), json!(null), json!(1e300), json!({})] {
        let mut claims = claims();
        claims["exp"] = exp;
        assert!(matches!(ours.verify(&hs256(&claims), NOW), Err(Refused::Malformed(_))), "{claims}");
    }
    let unending = json!({"sub": "cus_7", "tenant": "shop"});
    assert_eq!(ours.verify(&hs256(&unending), NOW), Err(Refused::Malformed("no exp")));
}

#[test]
fn a_token_names_a_customer_and_a_shop() {
    let ours = tokens(&[SECRET], &[]);
    for (claim, value) in [
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("x".repeat(256))),
        ("sub", json!("guest:cart_1")),
        ("tenant", json!(null)),
        ("tenant", json!("a\nb")),
    ] {
        let mut claims = claims();
        claims[claim] = value;
        assert!(matches!(ours.verify(&hs256(&claims), NOW), Err(Refused::Malformed(_))), "{claims}");
    }
}

#[test]
fn a_token_for_another_shop_is_refused_where_the_shop_says_who_it_is() {
    let secrets = [SecretString::from(SECRET)];
    let trust = Trust { secrets: &secrets, issuer: "login.shop", audience: "orders", ..Trust::default() };
    let ours = Tokens::new(&trust).unwrap();
    let with = |iss: &str, aud: Value| {
        let mut claims = claims();
        claims["iss"] = json!(iss);
        claims["aud"] = aud;
        ours.verify(&hs256(&claims), NOW).map(drop)
    };
    assert_eq!(with("login.shop", json!("orders")), Ok(()));
    assert_eq!(with("login.shop", json!(["blog", "orders"])), Ok(()));
    assert_eq!(with("login.other", json!("orders")), Err(Refused::Foreign("iss")));
    assert_eq!(with("login.shop", json!(["blog"])), Err(Refused::Foreign("aud")));
    assert_eq!(ours.verify(&hs256(&claims()), NOW), Err(Refused::Foreign("iss")));
}

#[test]
fn keys_of_one_shop_open_no_other() {
    let secrets = [SecretString::from(SECRET)];
    let ours = Tokens::new(&Trust { secrets: &secrets, tenant: "main", ..Trust::default() }).unwrap();
    let of = |tenant: &str| {
        let mut claims = claims();
        claims["tenant"] = json!(tenant);
        ours.verify(&hs256(&claims), NOW).map(drop)
    };
    assert_eq!(of("main"), Ok(()));
    assert_eq!(of("other"), Err(Refused::Foreign("tenant")));
}

#[test]
fn keys_that_are_none_are_named() {
    let short = [SecretString::from(SECRET), SecretString::from("short")];
    let bad = |trust: Trust<'_>| Tokens::new(&trust).unwrap_err();
    assert_eq!(bad(Trust { secrets: &short, ..Trust::default() }), BadKey::Short(2));
    let as_secret = [SecretString::from(PUBLIC_KEY)];
    assert_eq!(bad(Trust { secrets: &as_secret, ..Trust::default() }), BadKey::Short(1));
    for text in ["", "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----", &PUBLIC_KEY[..300]] {
        let keys = [text.to_owned()];
        assert_eq!(bad(Trust { public_keys: &keys, ..Trust::default() }), BadKey::NotRsa(1), "{text}");
    }
}

#[test]
fn only_what_looks_like_a_token_is_taken_for_one() {
    assert_eq!(bearer("Bearer a.b.c"), Some("a.b.c"));
    assert_eq!(bearer("bearer  a.b.c "), Some("a.b.c"));
    for header in ["", "Bearer", "Bearer of_live_abc", "Basic a.b.c"] {
        assert_eq!(bearer(header), None, "{header}");
    }
}

proptest::proptest! {
    #[test]
    fn no_token_is_too_odd(token: String, body in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
        let both = tokens(&[SECRET], &[PUBLIC_KEY]);
        proptest::prop_assert!(both.verify(&token, NOW).is_err());
        proptest::prop_assert!(both.verify(&body, NOW).is_err());
    }

    #[test]
    fn no_key_is_too_odd(bytes: Vec<u8>) {
        let body = STANDARD.encode(&bytes);
        let text = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----");
        let _ = der::rsa_public_key(&text);
    }
}
