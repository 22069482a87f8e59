//! SMTP: a mail is kept before it is acknowledged, and every way of losing the acknowledgement can be played.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::*;

const MAIL: &str =
    "Message-ID: <m1@shop>\r\nSubject: Your order\r\nX-Order: ord_1\r\n\r\nHello\r\n..dot\r\n.";

/// Says each line and returns the code of each answer, the greeting's first; 0 is a closed connection.
async fn talk(house: &House, lines: &[&str]) -> Vec<u16> {
    let address = house.sandbox.as_ref().unwrap().smtp_address();
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let mut codes = vec![answer(&mut stream).await];
    for line in lines {
        stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        codes.push(answer(&mut stream).await);
    }
    codes
}

async fn answer(stream: &mut BufReader<TcpStream>) -> u16 {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or_default() == 0 {
            return 0;
        }
        if line.as_bytes()[3] == b' ' {
            return line[..3].parse().unwrap();
        }
    }
}

const SEND: &[&str] = &["EHLO me", "MAIL FROM:<shop@x>", "RCPT TO:<a@example.com>", "DATA", MAIL];

#[tokio::test]
async fn an_accepted_mail_is_kept_whole() {
    let house = House::new().await;
    assert_eq!(talk(&house, SEND).await, [220, 250, 250, 250, 354, 250]);
    let mails = house.truth("mails").await;
    let kept = json!({"message_id": "m1@shop", "to": ["a@example.com"], "subject": "Your order",
                      "headers": {"x-order": "ord_1"}});
    assert_eq!(mails, [kept]);
    let full = house.control(Method::GET, "mails/0", &json!({})).await;
    assert!(full["raw"].as_str().unwrap().ends_with("Hello\r\n.dot\r\n"));
    let strange = ["DATA", "RCPT TO:<a@x>", "NONSENSE", "NOOP", "RSET", "QUIT"];
    assert_eq!(talk(&house, &strange).await, [220, 503, 503, 502, 250, 250, 221]);
    house.close().await;
}

#[tokio::test]
async fn mails_are_refused_dropped_and_kept_without_a_word() {
    let house = House::new().await;
    for (what, code, kept) in [
        (json!({"fail": {"status": 450}}), 450, 0),
        (json!({"fail": {"status": 550}}), 550, 0),
        (json!({"fail": {"status": 421}}), 421, 0),
        (json!("drop_before"), 0, 0),
        (json!("drop_after"), 0, 1),
    ] {
        let rule = json!([{"at": "smtp.data", "what": what, "next": 1}]);
        house.control(Method::POST, "faults", &rule).await;
        assert_eq!(talk(&house, SEND).await.last(), Some(&code), "{what}");
        assert_eq!(house.truth("mails").await.len(), kept, "{what}");
    }
    assert_eq!(house.control(Method::GET, "requests", &json!({})).await["smtp"]["DATA"], 5);
    let rule = json!([{"at": "smtp.rcpt", "what": {"fail": {"status": 550}}, "next": 1}]);
    house.control(Method::POST, "faults", &rule).await;
    assert_eq!(talk(&house, &SEND[..3]).await, [220, 250, 250, 550]);
    house.close().await;
}
