//! Dead letters taken up again: a poison group found among many others, thousands at once by two operators, and thousands
//! by one whose command is killed midway. Each letter leads to its work once, and none is left behind.

use std::time::Duration;

use orderfleet::time::Stopwatch;
use serde_json::Value;
use stage::fleet::{Fleet, Setup, answer};
use stage::process::{Process, until, with};
use stage::report::{Op, Report};
use tokio::time::sleep;

use crate::plan::Plan;

/// The many fail for good; the group is refused by Postgres, which is another cause.
const MANY: &str = r#""fail""#;
const GROUP: &str = r#""refuse""#;
/// For one of the group, so many others.
const OTHERS: u64 = 9;
/// From looking what there is to the last letter's replay, in two commands.
const FOUND: f64 = 3.0;
/// All of them, however many operators want it at once.
const REPLAYED: f64 = 10.0;
/// How often it is looked how far a replay is that will be killed: several times a batch.
const GLANCE: Duration = Duration::from_millis(5);
/// Rounds that are tried until a kill meets a replay midway.
const ROUNDS: usize = 5;

/// The three, one after the other.
pub(crate) async fn prove(plan: Plan, report: &mut Report) {
    let (group, many) = plan.sized((100, 1_500), (500, 10_000));
    let setup = Setup::default().set("lanes.housekeeping.max_depth", 100_000).set("worker.relay_ms", 200);
    let mut fleet = Fleet::set_up(setup).await;
    fleet.lay_ledger().await;
    let worker = fleet.working(&[]).await;

    die(&fleet, &[(GROUP, group), (MANY, group * OTHERS)], report).await;
    let since = Stopwatch::start();
    replay_group(&fleet, group);
    report.bar("group_found_and_replayed_seconds", since.elapsed().as_secs_f64(), Op::AtMost, FOUND);
    once_each(&fleet, group).await;

    die(&fleet, &[(MANY, many - group * OTHERS)], report).await;
    let since = Stopwatch::start();
    let mut both = [replay(&fleet, "one"), replay(&fleet, "two")];
    for operator in &mut both {
        assert!(operator.ended().await.success());
    }
    let took = since.elapsed().as_secs_f64();
    report.bar("replayed_by_two_at_once_seconds", took, Op::AtMost, REPLAYED);
    let by_both: u64 = both.iter().map(|operator| count(&operator.out(), "replayed")).sum();
    report.count("letters_replayed_by_two", i64::try_from(by_both).unwrap());
    once_each(&fleet, group + many).await;
    report.figure("until_all_were_done_seconds", since.elapsed().as_secs_f64());

    let (rounds, left) = killed_midway(&fleet, many, report).await;
    report.bar("letters_left_by_the_killed", left, Op::AtLeast, 1.0);
    let all = group + many * (1 + rounds);
    once_each(&fleet, all).await;

    let tally = fleet.tally().await;
    let all = i64::try_from(all).unwrap();
    report.count("letters", all);
    report.exactly("letters_undone", all - tally.done, 0);
    report.exactly("letters_done_twice", tally.doubled, 0);
    report.exactly("letters_open", open(&fleet).await, 0);
    // Each operator's batch is written down: what was replayed is what the record says.
    let noted = "select coalesce(sum((detail ->> 'letters')::bigint), 0)::bigint from operator_actions
                  where action = 'dead.replay'";
    report.exactly("letters_not_on_the_record", all - fleet.count(noted).await, 0);
    drop(worker);
    fleet.end().await;
}

/// Lets so many jobs die of each cause, and takes the cause away: what is replayed from now on is done.
async fn die(fleet: &Fleet, causes: &[(&str, u64)], report: &Report) {
    for (act, jobs) in causes {
        fleet.insert_probes(*jobs, act, "0").await;
    }
    until("every job's death", async || (fleet.open_jobs().await == 0).then_some(())).await;
    fleet
        .count(
            r#"with cured as (update dead_letters set payload = jsonb_set(payload, '{act}', '"note"')
                              where replayed_at is null returning 1)
               select count(*) from cured"#,
        )
        .await;
    report.progress(format_args!("{} letters are open", open(fleet).await));
}

/// Finds the group by its size, as a person would by its cause, and replays it.
fn replay_group(fleet: &Fleet, group: u64) {
    let groups = answer(&mut with(fleet.command(), ["dead", "list", "--groups", "--json"]));
    let groups: Vec<Value> = serde_json::from_str(&groups).unwrap();
    let found = groups.iter().find(|one| one["letters"] == group).expect("the group");
    let fingerprint = found["fingerprint"].as_str().unwrap();
    let done = answer(&mut with(fleet.command(), ["dead", "replay", "--fingerprint", fingerprint, "--json"]));
    assert_eq!(count(&done, "replayed"), group);
}

/// An operator who replays everything.
fn replay(fleet: &Fleet, name: &str) -> Process {
    let command = with(fleet.command(), ["dead", "replay", "--all", "--json", "--as", name]);
    Process::start(name, fleet.folder.path(), command)
}

/// Kills a replay when a part of it is done, and has the rest replayed by another. Where the kill came too late, once more.
/// Answers how many rounds it took, and how many letters the last kill left.
async fn killed_midway(fleet: &Fleet, many: u64, report: &Report) -> (u64, f64) {
    let all = i64::try_from(many).unwrap();
    for round in 1..=ROUNDS {
        die(fleet, &[(MANY, many)], report).await;
        let mut killed = replay(fleet, "killed");
        while open(fleet).await == all && !killed.has_ended() {
            sleep(GLANCE).await;
        }
        killed.kill();
        let left = open(fleet).await;
        report.progress(format_args!("killed when {left} of {all} were left"));
        let mut other = replay(fleet, "other");
        assert!(other.ended().await.success());
        if left > 0 || round == ROUNDS {
            let left = f64::from(u32::try_from(left).unwrap());
            return (u64::try_from(round).unwrap(), left);
        }
    }
    unreachable!("the last round answers")
}

/// Waits until no job is open, and so many were done.
async fn once_each(fleet: &Fleet, done: u64) {
    until("every replayed job's end", async || (fleet.open_jobs().await == 0).then_some(())).await;
    assert_eq!(fleet.tally().await.done, i64::try_from(done).unwrap(), "letters whose work is done");
}

/// Letters that wait for somebody.
async fn open(fleet: &Fleet) -> i64 {
    fleet.count("select count(*) from dead_letters where replayed_at is null and dropped_at is null").await
}

fn count(json: &str, field: &str) -> u64 {
    serde_json::from_str::<Value>(json).unwrap()[field].as_u64().unwrap()
}
