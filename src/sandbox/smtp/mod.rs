//! A mail server that delivers to nobody: it accepts, keeps and counts.
//!
//! One task a connection, one command at a time. A mail is a fact before its 250 leaves, so that "accepted, but the
//! sender never heard of it" can be played truly.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};

use super::faults::{Plan, Point};
use super::truth::{Asked, Fact};
use super::world::World;
use mail::Mail;
use talk::Talk;

pub(crate) mod mail;
mod talk;

/// The largest mail; announced, and refused with 552 above it. A notice of ours is a few KiB.
pub(crate) const LARGEST_MAIL: usize = 1 << 20;
/// After a failed accept (no file descriptors left): long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the world stops.
pub(crate) async fn serve(world: Arc<World>, listener: TcpListener) {
    let stop = world.stop.clone();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                // Small answers must not wait for an acknowledgement; without it they are late, not wrong.
                let _ = stream.set_nodelay(true);
                let (world, stop) = (Arc::clone(&world), stop.clone());
                world
                    .tasks
                    .clone()
                    .spawn(async move { stop.run_until_cancelled(session(world, stream)).await });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// How a command ends.
enum Turn {
    /// An answer, and on.
    Answer(&'static str),
    /// Another answer, and on.
    Say(String),
    /// A last answer.
    Bye(String),
    /// Nothing more is said.
    Drop,
}

/// The envelope of the mail that is being handed in.
#[derive(Default)]
struct Envelope {
    from: Option<String>,
    to: Vec<String>,
}

/// One connection. A read or write that fails ends it: the other side is gone.
async fn session(world: Arc<World>, stream: TcpStream) -> std::io::Result<()> {
    let mut talk = Talk(BufReader::new(stream));
    count(&world, "CONNECT", None);
    let plan = world.faults.plan(Point::SmtpConnect);
    tokio::time::sleep(plan.before).await;
    if plan.drop_before || plan.drop_after {
        return Ok(());
    }
    if let Some(failing) = plan.fail {
        return talk.say(&format!("{} sandbox does not take calls now", failing.status)).await;
    }
    talk.say("220 sandbox ESMTP").await?;
    let mut envelope = Envelope::default();
    while let Some(line) = talk.line().await? {
        match command(&world, &mut talk, &mut envelope, &line).await? {
            Turn::Answer(text) => talk.say(text).await?,
            Turn::Say(text) => talk.say(&text).await?,
            Turn::Bye(text) => return talk.say(&text).await,
            Turn::Drop => return Ok(()),
        }
    }
    Ok(())
}

async fn command(
    world: &Arc<World>,
    talk: &mut Talk,
    envelope: &mut Envelope,
    line: &str,
) -> std::io::Result<Turn> {
    let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
    Ok(match verb.as_str() {
        "EHLO" => {
            *envelope = Envelope::default();
            Turn::Say(format!("250-sandbox\r\n250-SIZE {LARGEST_MAIL}\r\n250-8BITMIME\r\n250 SMTPUTF8"))
        }
        "HELO" => Turn::Answer("250 sandbox"),
        "MAIL" => planned(world, Point::SmtpMail, "MAIL").await.unwrap_or_else(|| match address(line) {
            Some(from) => {
                *envelope = Envelope { from: Some(from), to: Vec::new() };
                Turn::Answer("250 2.1.0 ok")
            }
            None => Turn::Answer("501 5.5.4 MAIL FROM:<address>"),
        }),
        "RCPT" => planned(world, Point::SmtpRcpt, "RCPT").await.unwrap_or_else(|| match address(line) {
            Some(to) if envelope.from.is_some() && !to.is_empty() => {
                envelope.to.push(to);
                Turn::Answer("250 2.1.5 ok")
            }
            Some(_) if envelope.from.is_none() => Turn::Answer("503 5.5.1 MAIL first"),
            _ => Turn::Answer("501 5.5.4 RCPT TO:<address>"),
        }),
        "DATA" if envelope.to.is_empty() => Turn::Answer("503 5.5.1 RCPT first"),
        "DATA" => data(world, talk, std::mem::take(envelope)).await?,
        "RSET" => {
            *envelope = Envelope::default();
            Turn::Answer("250 2.0.0 ok")
        }
        "NOOP" => Turn::Answer("250 2.0.0 ok"),
        "QUIT" => Turn::Bye("221 2.0.0 bye".to_owned()),
        _ => Turn::Answer("502 5.5.2 not a command of ours"),
    })
}

/// Counts a command; what a rule makes of it, if anything.
async fn planned(world: &Arc<World>, point: Point, command: &str) -> Option<Turn> {
    count(world, command, None);
    let plan = world.faults.plan(point);
    tokio::time::sleep(plan.before + plan.after).await;
    (plan.drop_before || plan.drop_after).then_some(Turn::Drop).or_else(|| failure(&plan))
}

fn failure(plan: &Plan) -> Option<Turn> {
    let failing = plan.fail.as_ref()?;
    let text = format!("{} the sandbox was told to say this", failing.status);
    // 421 announces that the server hangs up.
    Some(if failing.status == 421 { Turn::Bye(text) } else { Turn::Say(text) })
}

/// Takes the mail in; it is a fact before it is acknowledged.
async fn data(world: &Arc<World>, talk: &mut Talk, envelope: Envelope) -> std::io::Result<Turn> {
    let plan = world.faults.plan(Point::SmtpData);
    talk.say("354 end with a dot on a line of its own").await?;
    let Some(raw) = talk.message(LARGEST_MAIL).await? else {
        return Ok(Turn::Answer("552 5.3.4 larger than SIZE"));
    };
    let mail = Mail::read(world.clock.now(), envelope.from.unwrap_or_default(), envelope.to, raw);
    count(world, "DATA", mail.message_id.clone());
    tokio::time::sleep(plan.before).await;
    let fails = failure(&plan);
    let hidden = plan.fail.as_ref().is_some_and(|failing| failing.after);
    if !plan.drop_before && (fails.is_none() || hidden) {
        world.change(|books, now| books.record(now, Fact::Mail(mail)));
    }
    tokio::time::sleep(plan.after).await;
    if plan.drop_before || plan.drop_after {
        return Ok(Turn::Drop);
    }
    Ok(fails.unwrap_or(Turn::Answer("250 2.0.0 kept")))
}

/// The address between the angle brackets.
fn address(line: &str) -> Option<String> {
    let (_, rest) = line.split_once('<')?;
    rest.split_once('>').map(|(address, _)| address.to_owned())
}

fn count(world: &Arc<World>, command: &str, key: Option<String>) {
    let asked = Asked {
        provider: "smtp".to_owned(),
        method: command.to_owned(),
        pattern: String::new(),
        path: String::new(),
        key,
    };
    world.change(|books, now| books.record(now, Fact::Request(asked)));
}
