//! What every part of the sandbox shares: the books under one lock, the faults, the secrets and the clock.
//!
//! The lock is held for one change and never across an await. [`World::change`] is the only way to it that sends
//! webhooks, so that no fact can be written whose event is then forgotten.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::SandboxSecrets;
use super::books::Books;
use super::faults::Faults;
use super::webhooks::{self, Post};
use crate::ids::random_bytes;
use crate::time::Clock;

/// The shared world.
#[derive(Debug)]
pub(crate) struct World {
    /// Tells the time.
    pub(crate) clock: Clock,
    /// What callers must know and what webhooks are signed with.
    pub(crate) secrets: SandboxSecrets,
    /// What is to go wrong.
    pub(crate) faults: Faults,
    /// How webhooks leave.
    pub(crate) post: Post,
    /// Everything that runs.
    pub(crate) tasks: TaskTracker,
    /// Ends everything that runs.
    pub(crate) stop: CancellationToken,
    /// Everything that is known.
    pub(crate) books: Mutex<Books>,
}

impl World {
    /// The books, for reading and for facts without an event.
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One change of the books at one time; the events that it brought up go out, in order, when it is over.
    pub(crate) fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Books, DateTime<Utc>) -> T) -> T {
        let mut books = self.books();
        let result = change(&mut books, self.clock.now());
        let events = std::mem::take(&mut books.outbox);
        let broken = books.broken();
        drop(books);
        if broken {
            self.stop.cancel();
        }
        webhooks::send(self, events);
        result
    }
}

/// A new id as providers make them: a prefix that says what it names, and 32 letters that say nothing.
pub(crate) fn fresh_id(prefix: &str) -> String {
    hex(prefix, &random_bytes::<16>())
}

/// `prefix` and the bytes in small hexadecimal letters.
pub(crate) fn hex(prefix: &str, bytes: &[u8]) -> String {
    bytes.iter().fold(prefix.to_owned(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
