//! Stripe's words one by one: what it advises on trying again.

use super::*;

fn with(answer: Prepared, header: (&'static str, &'static str)) -> Prepared {
    let (status, mut headers, body) = answer;
    headers.push(header);
    (status, headers, body)
}

/// A yes says that a refusal is none for good. It can't make a lost outcome known, and neither can a no; and a no takes
/// nothing from what is free to be tried again.
#[tokio::test]
async fn stripe_s_own_word_on_trying_again_saves_what_would_be_given_up_and_settles_no_doubt() {
    let away = Class::Unavailable(Dependency::Stripe);
    for (status, word, class, code) in [
        (400, "true", Class::Retry, "not_now"),
        (402, "true", Class::Retry, "not_now"),
        (404, "true", Class::Retry, "not_now"),
        (401, "true", away, "credentials_refused"),
        (403, "true", away, "credentials_refused"),
        (409, "true", Class::Retry, "not_now"),
        (429, "true", Class::Retry, "throttled"),
        (424, "true", Class::Unknown, "provider_broken"),
        (500, "true", Class::Unknown, "provider_broken"),
        (503, "true", Class::Unknown, "provider_away"),
        (400, "false", Class::Permanent, "refused"),
        (409, "false", Class::Retry, "not_now"),
        (429, "false", Class::Retry, "throttled"),
        (500, "false", Class::Unknown, "provider_broken"),
        (503, "false", Class::Unknown, "provider_away"),
        (400, "perhaps", Class::Permanent, "refused"),
    ] {
        let answer = with(error(status, &json!({"type": "api_error"})), ("stripe-should-retry", word));
        let stripe = Replay::of([answer]).await;
        let failure = Failure::from(client(&stripe.base).cancel("pi_1", "eff_1.1").await.unwrap_err());
        assert_eq!((failure.class, failure.code), (class, code), "{status} {word}: {failure}");
        assert_eq!(stripe.asked().len(), 1, "the queue tries again, not the client: {status} {word}");
    }
}
