//! The people on call are written to: once of each thing, and never of a person.

use orderfleet::ops::dead_letters as letters;
use orderfleet::store::dead_letters::Selection;
use orderfleet::store::stock::Change;
use serde_json::json;

use crate::house::{self, House};

/// Who is on call.
const ADDRESS: &str = "oncall@example.com";

/// What they were told, the oldest first.
async fn told(house: &House) -> Vec<String> {
    house.sweep().await;
    house.settled().await;
    let mails = house.rows("select facts ->> 'alert' as alert, facts ->> 'reason' as reason, recipient from communications where kind = 'ops_alert' order by created_at").await;
    assert!(mails.iter().all(|mail| mail["recipient"] == ADDRESS));
    let handed_over = house.truth("mails").await.iter().filter(|mail| mail["to"][0] == ADDRESS).count();
    assert_eq!(handed_over, mails.len());
    mails
        .iter()
        .map(|mail| format!("{} {}", mail["alert"].as_str().unwrap(), mail["reason"].as_str().unwrap()))
        .collect()
}

/// An hour later, for what was told.
async fn later(house: &House) {
    house.execute("update ops_alerts set told_at = told_at - interval '1 hour'").await.unwrap();
}

/// What died did so a while ago: what is a few seconds old is left to the next look.
async fn a_while_passes(house: &House) {
    let ago = "update ops_alerts set since = since - interval '1 minute';
               update dead_letters set died_at = died_at - interval '20 s'";
    house.execute(ago).await.unwrap();
}

async fn stock(house: &House, pieces: i64) {
    let source = format!("count:{}", orderfleet::ids::JobId::new());
    house.store.change_stock("SHIRT", Change::Set(pieces), &source).await.unwrap();
}

#[tokio::test]
async fn whoever_is_on_call_is_told_once_of_what_died_and_what_runs_out() {
    let house = house::plan().set(|settings| settings.alerts.mail_to = vec![ADDRESS.to_owned()]).open().await;
    assert_eq!(told(&house).await, [""; 0], "nothing is wrong");
    house.fault("easypost.buy", json!({"fail": {"status": 400}})).await;
    let bought = house.buy("told").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "exception").await;
    a_while_passes(&house).await;
    let died = told(&house).await;
    assert_eq!(died.len(), 1, "{died:?}");
    assert!(died[0].starts_with("1 job died since ") && died[0].contains("shipping-label:"), "{died:?}");
    stock(&house, 3).await;
    let low = told(&house).await;
    assert!(low.len() == 2 && low[1] == "1 article run out SHIRT: 3", "{low:?}");
    later(&house).await;
    assert_eq!(told(&house).await, low, "what was told is no news");
    stock(&house, 4).await;
    assert_eq!(told(&house).await, low);
    stock(&house, 1).await;
    assert_eq!(told(&house).await.last().unwrap(), "1 article run out SHIRT: 1", "it was not low meanwhile");
    house.mend().await;
    letters::replay(&house.store, &Selection::default(), "cli:tester", |_| ()).await.unwrap();
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    house.end_with_dead(&["shipping-label"]).await;
}

#[tokio::test]
async fn whoever_is_on_call_is_told_of_webhooks_that_nobody_believes() {
    let house = house::plan()
        .set(|settings| {
            settings.alerts.mail_to = vec![ADDRESS.to_owned()];
            settings.alerts.refused_webhooks = 3;
        })
        .open()
        .await;
    let bought = house.buy("believed").await;
    house.pay(&bought).await;
    let mut forged = house.letter("payment_intent.succeeded", &bought.payment).await;
    forged.signature = format!("t=1790000000,v1={}", "0".repeat(64));
    for _ in 0..2 {
        assert_eq!(house.post.deliver(&forged).await, 400);
    }
    house.until_count("refused_webhooks where refused = 2", 1).await;
    assert_eq!(told(&house).await, [""; 0], "a stranger's guesses");
    assert_eq!(house.post.deliver(&forged).await, 400);
    house.until_count("refused_webhooks where refused = 3", 1).await;
    let expected = "3 webhooks were not believed stripe (mismatch): 3. `orderfleet webhooks verify` says why one is refused";
    assert_eq!(told(&house).await, [expected]);
    later(&house).await;
    assert_eq!(told(&house).await.len(), 1, "those are told");
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    house.end().await;
}
