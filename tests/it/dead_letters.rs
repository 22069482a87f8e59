//! Dead letters as operators work with them: a replay is done once however often it is asked for, and takes back what the
//! burial told; a rehearsal leaves no trace; what is edited, dropped or carried elsewhere is written down.

use orderfleet::ids::{DeadLetterId, JobId, OrderId};
use orderfleet::jobs::Rules;
use orderfleet::ops::dead_letters::{self as letters, EditRefused, Would};
use orderfleet::roles;
use orderfleet::store::dead_letters::{Selection, State};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::house::{self, House, wish};

const WHO: &str = "operator mia";
/// Refuses orders of one cart, as a constraint would that nobody thought of.
const REFUSE: &str = "
    create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no' using errcode = 'check_violation'; end $$;
    create trigger refuse before insert on orders for each row when (new.cart_id = 'refused') execute function refuse()";

fn all() -> Selection {
    Selection::default()
}

fn rules(house: &House) -> Rules {
    roles::rules(&house.settings).unwrap()
}

/// The provider refused a label for good; somebody mends that, and replays it twice at the same time.
#[tokio::test]
async fn a_label_that_is_replayed_twice_at_once_is_bought_once_and_its_order_goes_on() {
    let house = house::open().await;
    house.fault("easypost.buy", json!({"fail": {"status": 400}})).await;
    let bought = house.buy("replayed").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "exception").await;
    house.settled().await;

    let letter = house.store.dead_letters(&all(), None, 10).await.unwrap().remove(0);
    assert_eq!((letter.kind.as_str(), letter.order), ("shipping-label", Some(bought.order)));
    let before = house.dump().await;
    let tried = letters::rehearse(&house.store, &all(), &rules(&house), 10).await.unwrap();
    assert!(matches!(&tried[0].would, Would::Call { provider: "easypost", .. }), "{tried:?}");
    assert_eq!(house.dump().await, before, "a rehearsal leaves no trace");

    let replay = async || letters::replay(&house.store, &all(), WHO, |_| ()).await.unwrap().replayed;
    let (first, second) = tokio::join!(replay(), replay());
    assert_eq!((first + second, replay().await), (1, 0), "twice is once");
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    assert_eq!(house.count("labels").await, 1);
    assert_eq!(house.count("order_exceptions where state <> 'resolved'").await, 0);
    let told =
        house.rows("select actor, action, detail ->> 'letters' as letters from operator_actions").await;
    assert_eq!(told, [json!({"actor": WHO, "action": "dead.replay", "letters": "1"})]);
    let letter = house.store.dead_letter(letter.id).await.unwrap().unwrap();
    assert_eq!(letter.replayed_by.as_deref(), Some(WHO));
    assert!(
        letter.replayed_as.is_some() && !letter.tried.is_empty() && letter.order_number.is_some(),
        "{letter:?}"
    );
    house.end_with_dead(&["shipping-label"]).await;
}

/// An order that somebody set aside for another reason waits on, whatever becomes of its label's job.
#[tokio::test]
async fn an_order_that_waits_for_more_than_its_label_is_not_moved() {
    let house = house::open().await;
    house.fault("easypost.create", json!({"fail": {"status": 400}})).await;
    let bought = house.buy("waits").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "exception").await;
    house.settled().await;
    let order = bought.order.uuid();
    let other = format!(
        "insert into order_exceptions (id, order_id, type, severity, detail) values (gen_random_uuid(), '{order}', 'set_aside', 'warning', 'x')"
    );
    house.execute(&other).await.unwrap();
    let tried = letters::rehearse(&house.store, &all(), &rules(&house), 10).await.unwrap();
    assert!(matches!(&tried[0].would, Would::Wait { code: "order_aside", .. }), "{tried:?}");
    letters::drop_all(&house.store, &all(), WHO, "bought by hand").await.unwrap();
    assert_eq!(
        letters::replay(&house.store, &all(), WHO, |_| ()).await.unwrap().replayed,
        0,
        "dropped is dropped"
    );
    house.end_with_dead(&["shipping-label"]).await;
}

/// What burials told of a mail and of a wish is taken back: the mail is sent, and the wish becomes an order.
#[tokio::test]
async fn a_mail_and_a_wish_that_were_given_up_are_taken_up_again() {
    let house = house::open().await;
    house.execute(REFUSE).await.unwrap();
    let answer = house.place(&wish("refused", "SUIT", 1), "refused", true).await.body;
    assert_eq!(answer["status"], "failed");
    let intent = answer["intent_id"].as_str().unwrap().parse().unwrap();
    house.fault("smtp.rcpt", json!({"fail": {"status": 550}})).await;
    let bought = house.buy("not-told").await;
    house.pay(&bought).await;
    house.until_order(bought.order, "shipped").await;
    house.settled().await;
    assert_eq!(house.count("communications where state = 'failed'").await, 1);
    let groups = house.store.dead_groups(&all(), 10).await.unwrap();
    assert_eq!(groups.iter().map(|group| group.letters).collect::<Vec<_>>(), [1, 1], "{groups:?}");
    let mails = Selection { kind: Some("email".to_owned()), ..all() };
    let about = house.store.dead_letters(&mails, None, 10).await.unwrap().remove(0).order;
    assert_eq!(about, Some(bought.order), "a mail is about its order");

    house.execute("drop trigger refuse on orders").await.unwrap();
    let before = house.dump().await;
    let tried = letters::rehearse(&house.store, &all(), &rules(&house), 10).await.unwrap();
    let would: Vec<&Would> = tried.iter().map(|tried| &tried.would).collect();
    assert!(matches!(would[..], [Would::Call { provider: "smtp", .. }, Would::Write { .. }]), "{would:?}");
    assert_eq!(house.dump().await, before, "a rehearsal leaves no trace");

    assert_eq!(letters::replay(&house.store, &all(), WHO, |_| ()).await.unwrap().replayed, 2);
    house.until(intent, "reserved").await;
    house.until_count("communications where state = 'sent'", 2).await;
    house.settled().await;
    let (sent, told) = (house.truth("mails").await.len(), house.count("communications").await);
    assert_eq!(i64::try_from(sent).unwrap(), told, "each once");
    house.end_with_dead(&["email", "order-intent"]).await;
}

/// Letters of jobs that never were, about an order that is not there.
async fn plant(house: &House, letters: usize, payload: &Value) {
    let sql = format!(
        "insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, caused_by)
         select gen_random_uuid(), gen_random_uuid(), 'order-lapse', 'expiry', 2, '{payload}', 3, 'planted', 'test', 'order-lapse:planted', 'test'
           from generate_series(1, {letters})"
    );
    house.execute(&sql).await.unwrap();
}

/// More than a batch, killed in its midst and asked for again: each job is inserted once.
#[tokio::test]
async fn a_replay_that_is_killed_midway_goes_on_where_it_ended() {
    let house = house::plan().workers(0).open().await;
    plant(&house, 1_234, &json!({"order": OrderId::new()})).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let of = all();
    let first = letters::replay(&house.store, &of, WHO, |far| tell.send(far.replayed).unwrap());
    tokio::select! {
        biased;
        far = told.recv() => assert_eq!(far, Some(500), "then it is dropped, in the midst of the next batch"),
        ended = first => panic!("{ended:?}"),
    }
    let before = house.count("jobs").await;
    let rest = letters::replay(&house.store, &all(), WHO, |_| ()).await.unwrap();
    assert_eq!(before + i64::try_from(rest.replayed).unwrap(), 1_234);
    assert_eq!(house.count("jobs").await, 1_234);
    assert_eq!(house.count("(select distinct caused_by from jobs) as causes").await, 1_234);
    house.work();
    house.settled().await;
    house.execute("delete from dead_letters").await.unwrap();
    house.end().await;
}

/// A payload is changed into another one of its kind, and into nothing else; what stood there is kept.
#[tokio::test]
async fn an_edit_is_kept_with_who_and_why_and_refused_where_the_kind_can_not_read_it() {
    let house = house::plan().workers(0).open().await;
    plant(&house, 1, &json!({"of": "tomorrow"})).await;
    let letter = house.store.dead_letters(&all(), None, 1).await.unwrap()[0].id;
    let left = letters::replay(&house.store, &all(), WHO, |_| ()).await.unwrap();
    assert_eq!((left.replayed, left.unreadable), (0, vec![letter]), "it would only die again");
    let edit = async |payload: Value| letters::edit(&house.store, letter, &payload, (WHO, "typo")).await;
    let refused = edit(json!({"order": "x"})).await;
    assert!(matches!(refused, Err(EditRefused::NoPayload(..))), "{refused:?}");
    assert_eq!(house.count("dead_letter_edits").await + house.count("operator_actions").await, 0);

    let order = OrderId::new();
    edit(json!({"order": order})).await.unwrap();
    let edited = house.store.dead_letter(letter).await.unwrap().unwrap();
    assert_eq!((edited.payload, edited.order), (json!({"order": order}), Some(order)));
    assert_eq!(
        (&edited.edits[0].before, edited.edits[0].reason.as_str()),
        (&json!({"of": "tomorrow"}), "typo")
    );
    assert_eq!(letters::replay(&house.store, &all(), WHO, |_| ()).await.unwrap().replayed, 1);
    let late = edit(json!({"order": order})).await;
    assert!(matches!(late, Err(EditRefused::NotOpen(_))), "{late:?}");
    let rewritten = house.execute("update dead_letter_edits set reason = ''").await;
    assert!(rewritten.unwrap_err().contains("append-only"));
    house.execute("alter table dead_letter_edits disable trigger user; delete from dead_letter_edits; delete from dead_letters; delete from jobs").await.unwrap();
    house.end().await;
}

/// Out and in again; masked by default, and what is masked is not brought in.
#[tokio::test]
async fn letters_travel_as_lines_and_arrive_once() {
    let house = house::plan().workers(0).open().await;
    let (letter, job) = (DeadLetterId::new(), JobId::new());
    let event = json!({"provider": "easypost", "account": "", "event_id": "evt_1", "event_type": "tracker.updated",
                       "object_id": "trk_1", "event": {"note": "for A. Buyer"}});
    house.execute(&format!(
        "insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, caused_by)
         values ('{}', '{}', 'tracking', 'shipping-in', 2, '{event}', 3, 'x', 'y', 'tracking:x:CARRIER.DOWN', 'test');
         insert into attempts (job_id, no, worker, class, code, detail, duration_ms) values ('{1}', 1, 'w', 'Retry', 'x', 'y', 7)",
        letter.uuid(), job.uuid()
    )).await.unwrap();
    let export = async |whole: bool| {
        let mut lines = String::new();
        let any = Selection { state: State::Any, ..all() };
        let put = |line: &str| lines.extend([line, "\n"]);
        assert_eq!(letters::export(&house.store, &any, (WHO, whole), put).await.unwrap(), 1);
        lines
    };
    let (masked, whole) = (export(false).await, export(true).await);
    assert!(!masked.contains("Buyer") && whole.contains("Buyer"), "{masked}{whole}");
    assert_eq!(
        house.count("operator_actions where action = 'dead.export'").await,
        1,
        "only the whole one is noted"
    );
    let bring = async |lines: &str| letters::bring_in(&house.store, lines.lines(), WHO).await.unwrap();
    assert_eq!(bring(&whole).await.known, 1);
    house.execute("delete from dead_letters; delete from attempts").await.unwrap();
    assert_eq!(bring(&masked).await.refused.len(), 1);
    let brought = bring(&format!("no letter\n{whole}")).await;
    assert_eq!((brought.brought, brought.refused[0].0), (1, 1));
    let back = house.store.dead_letter(letter).await.unwrap().unwrap();
    assert_eq!((back.job, back.payload, back.tried.len()), (job, event, 1));
    assert_eq!(back.fingerprint, "tracking:x:CARRIER.DOWN", "it is of its group here too");
    house.execute("delete from dead_letters; delete from attempts").await.unwrap();
    house.end().await;
}

/// Whatever a provider refuses ends with one code of ours: its own tells one cause from another.
#[tokio::test]
async fn what_a_provider_refuses_is_grouped_by_its_own_code() {
    let house = house::open().await;
    for (cart, code) in
        [("group-a", "SHIPMENT.INVALID"), ("group-b", "CUSTOMS.MISSING"), ("group-c", "CUSTOMS.MISSING")]
    {
        house.fault("easypost.create", json!({"fail": {"status": 422, "code": code}})).await;
        let bought = house.buy(cart).await;
        house.pay(&bought).await;
        house.until_order(bought.order, "exception").await;
        house.settled().await;
    }
    let groups = house.store.dead_groups(&all(), letters::GROUPS).await.unwrap();
    let told: Vec<_> = groups
        .iter()
        .map(|group| (group.letters, group.fingerprint.as_str(), group.provider_code.as_deref()))
        .collect();
    let customs = (2, "shipping-label:refused:CUSTOMS.MISSING", Some("CUSTOMS.MISSING"));
    assert_eq!(told, [customs, (1, "shipping-label:refused:SHIPMENT.INVALID", Some("SHIPMENT.INVALID"))]);
    assert!(letters::render_groups(&groups).contains("2 × shipping-label:refused:CUSTOMS.MISSING  since "));
    house.end_with_dead(&["shipping-label"; 3]).await;
}

/// Pages follow each other without a gap, and every part of a selection narrows it.
#[tokio::test]
async fn a_selection_is_paged_and_narrowed() {
    let house = house::plan().workers(0).open().await;
    let order = OrderId::new();
    plant(&house, 7, &json!({"order": order})).await;
    house.execute(&format!("update dead_letters set order_id = '{}', fingerprint = 'other', code = 'other' where id = (select min(id::text)::uuid from dead_letters)", order.uuid())).await.unwrap();
    let (mut seen, mut after) = (Vec::<Uuid>::new(), None);
    loop {
        let page = house.store.dead_letters(&all(), after, 3).await.unwrap();
        seen.extend(page.iter().map(|head| head.id.uuid()));
        after = page.last().map(|head| head.id);
        if after.is_none() {
            break;
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 7);
    let now = house.store.now().await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    for (of, found) in [
        (Selection { order: Some(order), ..all() }, 1),
        (Selection { fingerprint: text("order-lapse:planted"), ..all() }, 6),
        (Selection { lane: text("expiry"), kind: text("order-lapse"), ..all() }, 7),
        (Selection { lane: text("mail"), ..all() }, 0),
        (Selection { kind: text("email"), ..all() }, 0),
        (Selection { since: Some(now), ..all() }, 0),
        (Selection { until: Some(now), ..all() }, 7),
        (Selection { state: State::Dropped, ..all() }, 0),
        (Selection { ids: Some(vec![seen[0].into(), seen[6].into()]), ..all() }, 2),
    ] {
        assert_eq!(house.store.dead_letters(&of, None, 10).await.unwrap().len(), found, "{of:?}");
        let grouped =
            house.store.dead_groups(&of, 10).await.unwrap().iter().map(|group| group.letters).sum::<u64>();
        assert_eq!(usize::try_from(grouped).unwrap(), found, "{of:?}");
    }
    assert_eq!(letters::drop_all(&house.store, &all(), WHO, "test").await.unwrap(), 7);
    assert_eq!(house.store.dead_by_lane().await.unwrap().len(), 0);
    house.execute("delete from dead_letters").await.unwrap();
    house.end().await;
}
