//! Public states of intents, written short: they stay in Redis for a day each, and nine bytes of ten are names of fields.
//!
//! A phrase that states share becomes one control character, which JSON never contains as such; everything else stays as it
//! is, so a state that uses none of these phrases is merely longer. This compresses, it permits nothing and knows no
//! meaning. Whatever is read, also what an older version wrote out in full, is expanded or left alone, and never refused.

use crate::ids::IntentId;

/// The phrases and their characters. Only ever append: they are in Redis. Tab, line feed and carriage return are left out,
/// which JSON may have between its tokens. An earlier phrase is preferred to a later one that it begins with.
const PHRASES: [(char, &str); 26] = [
    ('\u{01}', "{\"amount_cents\":null,\"client_secret_enc\":null,\"currency\":"),
    ('\u{02}', "{\"amount_cents\":"),
    ('\u{03}', ",\"client_secret_enc\":null,\"currency\":\""),
    ('\u{04}', ",\"client_secret_enc\":\""),
    ('\u{05}', "\",\"currency\":\""),
    ('\u{06}', "\",\"customer_id\":\""),
    ('\u{07}', "\",\"details\":[],\"error\":null,\"expires_at\":null,\"intent_id\":\"int_"),
    ('\u{08}', "\",\"details\":[],\"error\":null,\"expires_at\":\""),
    ('\u{0b}', "\",\"intent_id\":\"int_"),
    ('\u{0c}', "\",\"order_id\":\"ord_"),
    ('\u{0e}', "\",\"order_number\":\"OF-"),
    ('\u{0f}', "\",\"order_number\":\""),
    ('\u{10}', "\",\"order_status\":\"pending_payment"),
    ('\u{11}', "\",\"order_status\":\""),
    ('\u{12}', "\",\"payment_intent_id\":\"pi_"),
    ('\u{13}', "\",\"payment_intent_id\":\""),
    ('\u{14}', "\",\"payment_intent_id\":null,\"status\":\""),
    ('\u{15}', "\",\"status\":\"paid\",\"success\":true,\"tenant\":\"main\"}"),
    ('\u{16}', "\",\"status\":\"reserved\",\"success\":true,\"tenant\":\"main\"}"),
    ('\u{17}', "\",\"status\":\""),
    ('\u{18}', "\",\"success\":true,\"tenant\":\""),
    ('\u{19}', "\",\"success\":false,\"tenant\":\""),
    ('\u{1a}', "\",\"success\":null,\"tenant\":\""),
    (
        '\u{1b}',
        "\",\"order_id\":null,\"order_number\":null,\"order_status\":null,\"payment_intent_id\":null,\"status\":\"",
    ),
    ('\u{1c}', "\",\"details\":["),
    ('\u{1d}', "],\"error\":\""),
];

/// The intent's own id, as it is printed behind its prefix: whoever reads a state knows whose it is.
const OWN: char = '\u{1e}';

/// What stands behind the prefix of an id that was printed.
fn own(printed: &str) -> &str {
    printed.split_once('_').map_or("", |(_, id)| id)
}

/// The state of this intent as Redis keeps it.
pub(super) fn shorten(state: &str, intent: IntentId) -> String {
    let printed = intent.to_string();
    let own = own(&printed);
    let own_begins = own.as_bytes().first();
    let (mut short, mut rest) = (String::with_capacity(state.len()), state);
    while let Some(next) = rest.chars().next() {
        let found = match rest.as_bytes() {
            // Every phrase begins with one of these pairs, and few other things do. The fourth byte tells most of them
            // apart: every request at the door pays for what is compared here.
            [b'{' | b',', b'"', _, fourth, ..] | [b'"' | b']', b',', _, fourth, ..] => PHRASES
                .iter()
                .filter(|(_, phrase)| phrase.as_bytes().get(3) == Some(fourth))
                .find_map(|(code, phrase)| Some((*code, rest.strip_prefix(phrase)?))),
            [first, ..] if Some(first) == own_begins => rest.strip_prefix(own).map(|after| (OWN, after)),
            _ => None,
        };
        let (code, after) = found.unwrap_or((next, &rest[next.len_utf8()..]));
        short.push(code);
        rest = after;
    }
    short
}

/// What [`shorten`] was given.
pub(super) fn expand(short: &str, intent: IntentId) -> String {
    let mut state = String::with_capacity(short.len() * 3);
    for next in short.chars() {
        match PHRASES.iter().find(|(code, _)| *code == next) {
            Some((_, phrase)) => state.push_str(phrase),
            None if next == OWN => state.push_str(own(&intent.to_string())),
            None => state.push(next),
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the view writes it, its fields in their order.
    const PAID: &str = "{\"amount_cents\":9800,\"client_secret_enc\":null,\"currency\":\"USD\",\"customer_id\":\"cus_1234\",\
        \"details\":[],\"error\":null,\"expires_at\":null,\"intent_id\":\"int_3YYTGS4CTSGTKB296J20YV8R4Z\",\
        \"order_id\":\"ord_01M7Y58SAREF3BN228FCEQHQ61\",\"order_number\":\"OF-100013\",\"order_status\":\"shipped\",\
        \"payment_intent_id\":\"pi_a85cdf05784c7cf3d4371af8652da9be\",\"status\":\"paid\",\"success\":true,\"tenant\":\"main\"}";

    proptest! {
        #[test]
        fn whatever_is_shortened_is_expanded_again(parts in prop::collection::vec((0..PHRASES.len(), "[ -~é\n]{0,9}"), 0..9)) {
            let state: String = parts.iter().flat_map(|(at, between)| [PHRASES[*at].1, between]).collect();
            let intent = IntentId::new();
            let state = format!("{state}{intent}{state}");
            prop_assert_eq!(expand(&shorten(&state, intent), intent), state);
        }
    }

    #[test]
    fn a_paid_intents_state_fits_the_step_below_which_redis_takes_160_bytes() {
        // Beside it: 32 bytes of fingerprint, a version and a line feed; 4 bytes are Redis's own.
        let intent = "int_3YYTGS4CTSGTKB296J20YV8R4Z".parse().unwrap();
        let bytes = 32 + 3 + shorten(PAID, intent).len() + 4;
        assert!(bytes <= 160, "{bytes}");
        assert_eq!(expand(&shorten(PAID, intent), intent), PAID);
    }

    #[test]
    fn every_phrase_has_a_character_of_its_own_that_json_does_not_have() {
        for (at, (code, phrase)) in PHRASES.iter().enumerate() {
            assert!(code.is_ascii_control() && !"\t\n\r\0".contains(*code));
            assert!(
                PHRASES[at + 1..].iter().all(|(other, longer)| other != code && !longer.starts_with(phrase))
            );
        }
    }
}
