//! Every mail as it is read, with all facts and with as few as its kind has; and every fault of a template.

use super::*;

fn facts() -> NoticeFacts {
    NoticeFacts {
        shop_name: "Orderfleet Menswear".into(),
        order_number: Some("OF-1001".into()),
        order_url: Some("https://shop.example.com/orders/OF-1001".into()),
        ..NoticeFacts::default()
    }
}

fn words() -> Wording {
    let brand = Brand {
        name: "Orderfleet Menswear".into(),
        color: "#1d4ed8".into(),
        logo_url: String::new(),
        footer: "1 Shop Street".into(),
    };
    Wording::new(brand).unwrap()
}

fn render(kind: &str, facts: &NoticeFacts) -> Rendered {
    words().render(kind, "en", facts).unwrap()
}

#[test]
fn the_order_confirmation() {
    let line =
        |name: &str, quantity, total: &str| NoticeLine { name: name.into(), quantity, total: total.into() };
    let mail = render(
        "order_confirmation",
        &NoticeFacts {
            customer_name: Some("A. Buyer <&>".into()),
            total: Some("USD 427.00".into()),
            lines: vec![line("Suit, navy, 42R", 1, "USD 389.00"), line("Tie", 2, "USD 38.00")],
            ..facts()
        },
    );
    assert_eq!(mail.subject, "Thank you, your order OF-1001 is confirmed");
    assert_eq!(
        mail.text,
        "Hello A. Buyer <&>,\n\n\
         thank you for your order. Your payment has arrived, and we have begun to get your things ready.\n\n\
         1 x Suit, navy, 42R: USD 389.00\n2 x Tie: USD 38.00\nTotal paid: USD 427.00\n\n\
         You will hear from us again as soon as your parcel is on its way. Until then you can follow your order here:\n\
         https://shop.example.com/orders/OF-1001\n\nWarm regards\nOrderfleet Menswear"
    );
}

#[test]
fn the_shipping_notification() {
    let tracked = NoticeFacts { tracking_code: Some("9400".into()), ..facts() };
    assert_eq!(
        render("shipping_notification", &tracked).text,
        "Hello,\n\ngood news: your parcel has left us.\n\nTracking number: 9400\n\n\
         Everything about your order: https://shop.example.com/orders/OF-1001\n\nWarm regards\nOrderfleet Menswear"
    );
    let mail = render(
        "shipping_notification",
        &NoticeFacts {
            carrier: Some("USPS".into()),
            tracking_url: Some("https://track.example.com/9400".into()),
            ..tracked
        },
    );
    assert!(
        mail.text.contains("has left us with USPS.\n\nTracking number: 9400\nFollow it here: https://track")
    );
}

#[test]
fn the_mails_that_need_no_more_than_the_order() {
    for (kind, subject, words) in [
        (
            "reservation_expired",
            "Your order OF-1001 is waiting for you",
            "back on the shelf.\nNothing was charged.",
        ),
        (
            "payment_failed",
            "Your payment for order OF-1001 did not go through",
            "your payment did not go through. This",
        ),
        ("delay_or_exception", "A word about your order OF-1001", "and we are sorry.\n\nSomebody here"),
        (
            "delivery_confirmation",
            "Your order OF-1001 has arrived",
            "we hear that your parcel has been delivered.",
        ),
        (
            "cancellation",
            "Your order OF-1001 is cancelled",
            "your order OF-1001 is cancelled. If you had paid",
        ),
    ] {
        let mail = render(kind, &facts());
        assert_eq!(mail.subject, subject);
        assert!(mail.text.starts_with("Hello,\n\n") && mail.text.contains(words), "{kind}: {}", mail.text);
        assert!(mail.text.contains("https://shop.example.com/orders/OF-1001"), "{kind}");
        for trace in ["{{", "{%", "none", "undefined"] {
            assert!(!mail.text.contains(trace), "{kind}: {}", mail.text);
        }
    }
}

#[test]
fn the_alert_for_the_people_on_call() {
    let alert = NoticeFacts { alert: Some("3 dead letters in shipping".into()), ..facts() };
    let mail = render("ops_alert", &NoticeFacts { order_number: None, ..alert });
    assert_eq!(mail.subject, "[Orderfleet Menswear] 3 dead letters in shipping");
    assert_eq!(mail.text, "3 dead letters in shipping\n\n\nSent by the order fleet.");
}

#[test]
fn a_subject_is_one_line_whatever_was_typed() {
    let number = Some("OF-1\r\nBcc: b@example.com\u{0}\u{85}x".to_owned());
    let mail = render("cancellation", &NoticeFacts { order_number: number, ..facts() });
    assert_eq!(mail.subject, "Your order OF-1 Bcc: b@example.com x is cancelled");
}

#[test]
fn a_missing_fact_is_an_error_and_never_a_gap() {
    let wording = words();
    let error = wording.render("shipping_notification", "en", &facts()).unwrap_err();
    assert!(matches!(&error, WordingError::MissingFact { .. }), "{error}");
    assert!(error.to_string().starts_with("shipping_notification.en.text: "), "{error}");
    let error = wording.render("love_letter", "en", &facts()).unwrap_err();
    assert_eq!(error, WordingError::UnknownKind("love_letter".into()));
}

#[test]
fn another_language_falls_back_to_english() {
    let wording = Wording::of(
        &[("k", "en", "Subject: a\n\nHello"), ("k", "ne", "Subject: b\n\nNamaste")],
        Brand::default(),
    )
    .unwrap();
    let text = |locale: &str| wording.render("k", locale, &facts()).unwrap().text;
    assert_eq!([text("en-GB"), text("ne_NP"), text("am"), text("")], ["Hello", "Namaste", "Hello", "Hello"]);
}

#[test]
fn a_bad_template_stops_the_start_with_its_name() {
    let fault = |source: &str| Wording::of(&[("k", "en", source)], Brand::default()).unwrap_err().to_string();
    assert!(fault("Hello").contains("k.en: a template begins with"));
    assert!(fault("Subject: a\nHello\n\nx").contains("k.en: a template begins with"));
    assert!(fault("Subject: a\n\n{{ total").starts_with("k.en.text: "));
    assert!(fault("Subject: a\n\n{% if totl %}x{% endif %}").contains(r#"no fact called "totl""#));
    assert!(
        fault("Subject: a\n\n{% for line in lines %}{{ line.price }}{% endfor %}").starts_with("k.en.text: ")
    );
}

/// What a customer reads in HTML is what others read as text: paragraphs, sums in columns, our own addresses as links.
#[test]
fn the_html_part_says_what_the_text_says_in_the_shop_s_frame() {
    let mail = render(
        "order_confirmation",
        &NoticeFacts {
            customer_name: Some("<b>Eve</b>\n\nhttps://evil.example.com".into()),
            total: Some("USD 427.00".into()),
            discount: Some("USD -12.00".into()),
            lines: vec![NoticeLine { name: "Suit & tie".into(), quantity: 1, total: "USD 439.00".into() }],
            ..facts()
        },
    );
    assert!(
        mail.text.contains("1 x Suit & tie: USD 439.00\nDiscount: USD -12.00\nTotal paid: USD 427.00"),
        "{}",
        mail.text
    );
    let html = &mail.html;
    for wanted in [
        "<html lang=\"en\">",
        "Orderfleet Menswear",
        "#1d4ed8",
        "1 Shop Street",
        "Suit &amp; tie:</td>",
        "Discount:</td>",
    ] {
        assert!(html.contains(wanted), "{wanted}: {html}");
    }
    assert!(!html.contains("<b>Eve") && html.contains("&lt;b&gt;Eve"), "{html}");
    assert_eq!(html.matches("<a href").count(), 1, "only the order's page is a link: {html}");
    assert!(!html.contains('\t') && !mail.text.contains('\t'));
}

#[test]
fn every_kind_of_the_domain_has_words_in_every_language() {
    use crate::domain::notice::Notice;

    let words = words();
    for notice in Notice::ALL {
        for (locale, language) in [("en", "en"), ("ne-NP", "ne"), ("am", "am"), ("fr", "en")] {
            let mail = words.render(notice.name(), locale, &NoticeFacts::every()).unwrap();
            let only_english = matches!(notice, Notice::Manual | Notice::OpsAlert);
            assert_eq!(mail.language, if only_english { "en" } else { language }, "{}", notice.name());
            assert!(!mail.subject.is_empty() && mail.html.contains("</html>"), "{}", notice.name());
            for trace in ["{{", "{%", "none", "undefined"] {
                assert!(!mail.text.contains(trace), "{}: {}", notice.name(), mail.text);
            }
        }
    }
}

#[test]
fn nepali_and_amharic_say_it_in_their_own_letters() {
    let words = words();
    let sent = NoticeFacts { tracking_code: Some("9400".into()), ..facts() };
    let text = |locale| words.render("shipping_notification", locale, &sent).unwrap().text;
    assert!(text("ne").starts_with("नमस्ते,\n\n") && text("ne").contains("9400"));
    assert!(text("am").starts_with("ሰላም፣\n\n") && text("am").contains("9400"));
}
