//! Requests with an `Idempotency-Key`: one effect and one answer, however often they are sent.
//!
//! The header is that of draft-ietf-httpapi-idempotency-key-header. A request is known by its organisation and a
//! text its owner composes (who sent it, the route, the header's value), and by a fingerprint of what it asks for.
//! Its answer is kept, sealed, for [`ANSWER_KEPT`]: a repetition gets that answer and has no second effect; the same
//! key with another fingerprint is refused.
//!
//! A write that commits a batch itself joins the answer to it, and pays for no other commit:
//!
//! 1. [`Idempotency::lookup`] reads. If the request is new, it gives a [`Ticket`].
//! 2. [`Ticket::finish_batch`] gives a batch to append to the write's own.
//!    [`Ticket::finish_beside`] also gives a key: what the answer holds that only the commit makes is kept under it.
//! 3. If the commit fails and [`Ticket::lost`] says that the ticket is why, the same request was quicker: look up
//!    again, which now replays its answer.
//!
//! Anything else claims the key first, with [`Idempotency::begin`], and ends with [`Ticket::finish`] or
//! [`Ticket::abandon`]. While it is claimed, a repetition is told so. A claim whose host died, or whose ticket was
//! dropped, lapses after [`CLAIM_KEPT`]; the next such request then takes it over, and if the first one was alive
//! after all, its `finish` fails instead of replacing the other's answer.
//!
//! Only remember what came of a request: one that failed before it had an effect should be abandoned, so that it
//! can be sent again.

use std::fmt;
use std::sync::Arc;

use bellwether_kernel::{ErrorKind, FieldError, OrganisationId, Timestamp};
use bellwether_store::{
    Batch, Direction, Key, MAX_VALUE, Precondition, Row, Space, StoreError, Versioned, Walk, commit_gently,
    decode, encode,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::seal::Context;
use crate::service::Inner;
use crate::{Sealed, rows};

/// How long an answer is kept, in milliseconds: a day, in which every client has given up or asked again.
pub const ANSWER_KEPT: i64 = 24 * 60 * 60 * 1000;

/// How long a claim holds, in milliseconds: five minutes, longer than any request may take, so that a claim lapses
/// only if nobody is at work on it any more.
pub const CLAIM_KEPT: i64 = 5 * 60 * 1000;

/// The largest body that is remembered, in bytes. A row takes [`MAX_VALUE`]; 2 KiB are left for all else in it.
pub const MAX_ANSWER: usize = MAX_VALUE - 2048;

/// The largest body that is remembered on a full disk, in bytes: what is done there is deleting, whose answers are short.
const LITTLE: usize = 1024;

/// The longest content type that is remembered, in bytes.
const MAX_CONTENT_TYPE: usize = 1024;

/// The longest `Idempotency-Key`, in characters.
const MAX_HEADER: usize = 255;

/// What was remembered beside answers is forgotten so many rows at a time.
const AT_ONCE: usize = 256;

/// What an organisation leaves is forgotten so many bytes of keys at a time: some hundred rows.
const ERASED_BYTES: usize = 64 * 1024;

/// Why a request with an `Idempotency-Key` cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum IdempotencyError {
    /// The header is not one.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// The same request is at work just now. 409 by the draft.
    #[error("a request with this Idempotency-Key is still at work; send it again in a moment")]
    InProgress,
    /// The key was used for another request. 422 by the draft.
    #[error("this Idempotency-Key was used for another request; use a new key for each request")]
    Mismatch,
    /// The answer is too large to be remembered.
    #[error("an answer of {size} bytes cannot be remembered for its Idempotency-Key, at most {limit} can")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The claim lapsed and another request took the key.
    #[error("the request took so long that another one with its Idempotency-Key took over")]
    Lost,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IdempotencyError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Mismatch => ErrorKind::Invalid,
            Self::InProgress | Self::Lost => ErrorKind::Conflict,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Store(error) => error.kind(),
        }
    }
}

/// An answer to remember.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The content type; empty if there is none.
    pub content_type: String,
    /// The body, at most [`MAX_ANSWER`] bytes.
    pub body: Bytes,
}

/// Shows how long the body is: it may hold a new key's token.
impl fmt::Debug for StoredAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, content_type, body } = self;
        write!(f, "StoredAnswer {{ {status}, {content_type:?}, {} bytes }}", body.len())
    }
}

/// What is known of a request.
#[derive(Debug)]
pub enum Begun {
    /// Nothing: do it.
    New(Ticket),
    /// It was done; this was the answer.
    Replay(StoredAnswer),
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    fingerprint: [u8; 32],
    /// Until when this counts.
    until: Timestamp,
    state: State,
}

#[derive(Serialize, Deserialize)]
enum State {
    /// At work. The number tells two claims of one request apart.
    Claimed(u64),
    /// The answer, sealed: that to a new key's request holds the key's token.
    Answered(Sealed),
}

impl Versioned for Remembered {
    const NAME: &'static str = "remembered request";
}

#[derive(Serialize, Deserialize)]
struct Answer(StoredAnswer);

impl Versioned for Answer {
    const NAME: &'static str = "remembered answer";
}

/// The remembered requests of a store. From [`crate::Access::idempotency`].
#[derive(Clone)]
pub struct Idempotency {
    inner: Arc<Inner>,
}

impl Idempotency {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Reads the value of an `Idempotency-Key` header: a structured field's string, in quotes, or the same text
    /// without them, which most clients send. 1 to 255 printable ASCII characters.
    ///
    /// # Errors
    /// [`IdempotencyError::Invalid`].
    pub fn read_header(value: &[u8]) -> Result<String, IdempotencyError> {
        let shown = String::from_utf8_lossy(value);
        let wrong = || {
            FieldError::new("Idempotency-Key", &shown, "1 to 255 printable ASCII characters, best in quotes")
        };
        let text = value.trim_ascii();
        let key = if text.first() == Some(&b'"') { unquoted(text).ok_or_else(wrong)? } else { text.to_vec() };
        let good =
            (1..=MAX_HEADER).contains(&key.len()) && key.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if good { Ok(String::from_utf8(key).expect("ASCII is UTF-8")) } else { Err(wrong().into()) }
    }

    /// The fingerprint of a request from what it asks for: method, target, body. Each part is told from the next by
    /// its length.
    #[must_use]
    pub fn fingerprint(parts: &[&[u8]]) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    /// What is known of a request; commits nothing. For a write whose commit [`Ticket::finish_batch`] can join.
    ///
    /// # Errors
    /// [`IdempotencyError::InProgress`], [`IdempotencyError::Mismatch`]; the store's.
    pub async fn lookup(
        &self,
        organisation: Option<OrganisationId>,
        key: &str,
        fingerprint: [u8; 32],
    ) -> Result<Begun, IdempotencyError> {
        let row = rows::idempotency(organisation, &Sha256::digest(key).into());
        let ticket = |holds| Ticket {
            idempotency: self.clone(),
            row: row.clone(),
            holds,
            fingerprint,
            claimed: false,
        };
        let Some(value) = self.inner.store.get(&row).await? else {
            return Ok(Begun::New(ticket(Precondition::Absent)));
        };
        let remembered: Remembered = decode(&value)?;
        if remembered.until <= self.inner.clock.now() {
            return Ok(Begun::New(ticket(Precondition::ValueIs(value))));
        }
        match remembered.state {
            _ if remembered.fingerprint != fingerprint => Err(IdempotencyError::Mismatch),
            State::Claimed(_) => Err(IdempotencyError::InProgress),
            State::Answered(sealed) => {
                let damaged = |_| StoreError::Damaged(format!("the answer in {row:?} does not open"));
                let answer =
                    self.inner.host_key.unseal(Context::Answer(row.as_bytes()), &sealed).map_err(damaged)?;
                Ok(Begun::Replay(decode::<Answer>(&answer)?.0))
            }
        }
    }

    /// The key under which more is remembered of an answer, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn beside(
        &self,
        organisation: Option<OrganisationId>,
        key: &str,
    ) -> Result<Option<Key>, IdempotencyError> {
        let row = rows::idempotency(organisation, &Sha256::digest(key).into());
        let Some(value) = self.inner.store.get(&row).await? else { return Ok(None) };
        Ok(Some(rows::beside(&row, decode::<Remembered>(&value)?.until)))
    }

    /// What is known of a request; claims it if nothing is, with a commit of its own.
    ///
    /// # Errors
    /// [`IdempotencyError::InProgress`], [`IdempotencyError::Mismatch`]; the store's.
    pub async fn begin(
        &self,
        organisation: Option<OrganisationId>,
        key: &str,
        fingerprint: [u8; 32],
    ) -> Result<Begun, IdempotencyError> {
        let mut ticket = match self.lookup(organisation, key, fingerprint).await? {
            Begun::New(ticket) => ticket,
            replay @ Begun::Replay(_) => return Ok(replay),
        };
        let mut number = [0; 8];
        self.inner.randomness.fill(&mut number);
        let claim = encode(&Remembered {
            fingerprint,
            until: self.inner.clock.now().saturating_add(CLAIM_KEPT),
            state: State::Claimed(u64::from_be_bytes(number)),
        });
        let mut batch = Batch::new();
        // It is small and goes with the request: on a full disk it must not keep out one that frees some, and what such a
        // request may not do is refused by itself.
        batch
            .require(ticket.row.clone(), ticket.holds.clone())
            .put(ticket.row.clone(), claim.clone())
            .frees();
        match self.inner.store.commit(batch).await {
            Ok(_) => {
                ticket.holds = Precondition::ValueIs(claim);
                ticket.claimed = true;
                Ok(Begun::New(ticket))
            }
            // Another request was quicker. If it has ended already without leaving an answer, this one may well be
            // sent again.
            Err(StoreError::Conflict(_)) => match self.lookup(organisation, key, fingerprint).await? {
                Begun::New(_) => Err(IdempotencyError::InProgress),
                replay @ Begun::Replay(_) => Ok(replay),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets what no longer counts, and returns how much that was. Called now and then; nothing but space depends
    /// on it. While the clock is not [steady](bellwether_kernel::Clock::steady) nothing is forgotten: by a wrong one answers
    /// count no longer that are to be replayed.
    ///
    /// # Errors
    /// The store's; what was forgotten by then stays so.
    pub async fn sweep(&self) -> Result<u64, IdempotencyError> {
        let Some(now) = self.inner.clock.steady() else { return Ok(0) };
        let store = &self.inner.store;
        let mut rows = Walk::forward(&**store, Key::new(Space::Idempotency).prefix());
        let (mut forgotten, mut over) = (0, Vec::new());
        while let Some((key, value, remembered)) = rows.next_of::<Remembered>().await? {
            if remembered.until > now {
                continue;
            }
            over.push((key, value));
            if over.len() == AT_ONCE {
                forgotten += self.forget(std::mem::take(&mut over)).await?;
            }
        }
        forgotten += self.forget(over).await?;
        self.sweep_beside(now).await?;
        Ok(forgotten)
    }

    /// Deletes rows that are as they were read: all in one commit, unless a new request has taken one meanwhile.
    async fn forget(&self, mut over: Vec<Row>) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        while !over.is_empty() {
            let mut batch = Batch::new();
            for (key, value) in &over {
                batch.require(key.clone(), Precondition::ValueIs(value.clone())).delete(key.clone());
            }
            match self.inner.store.commit(batch).await {
                Ok(_) => {
                    forgotten += over.len() as u64;
                    over.clear();
                }
                Err(StoreError::Conflict(taken)) => over.retain(|(key, _)| *key != taken),
                Err(error) => return Err(error),
            }
        }
        Ok(forgotten)
    }

    /// Forgets everything that is remembered of an organisation's requests, and beside it, and returns how much that was.
    ///
    /// # Errors
    /// The store's; what was forgotten by then stays so.
    pub(crate) async fn erase(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        let store = &self.inner.store;
        let mut rows = Walk::forward(&**store, rows::idempotencies(Some(organisation)).prefix());
        let (mut forgotten, mut batch) = (0, Batch::new());
        while let Some((key, _, Remembered { until, .. })) = rows.next_of().await? {
            let mut beside = Walk::forward(&**store, rows::beside(&key, until).prefix());
            while let Some((row, _)) = beside.next().await? {
                batch.delete(row);
                forgotten += 1;
            }
            // Behind what it leads to: what is cut off here is found again.
            batch.delete(key);
            forgotten += 1;
            if batch.bytes() >= ERASED_BYTES {
                commit_gently(&**store, std::mem::take(&mut batch)).await?;
            }
        }
        if !batch.is_empty() {
            commit_gently(&**store, batch).await?;
        }
        Ok(forgotten)
    }

    /// Forgets what was remembered beside answers that no longer count.
    async fn sweep_beside(&self, now: Timestamp) -> Result<(), IdempotencyError> {
        let store = &self.inner.store;
        let over = rows::all_beside().signed(now.as_milliseconds());
        loop {
            let range = rows::all_beside().prefix().start..over.clone();
            let page = store.scan(range, Direction::Forward, AT_ONCE).await?;
            if page.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new();
            for (key, _) in page {
                batch.delete(key);
            }
            store.commit(batch).await?;
        }
    }
}

/// The right to do a request, and to say what came of it.
pub struct Ticket {
    idempotency: Idempotency,
    row: Key,
    /// What the row holds as long as the ticket is good.
    holds: Precondition,
    fingerprint: [u8; 32],
    claimed: bool,
}

impl Ticket {
    /// A batch that remembers `answer`, and fails with everything it is appended to if the ticket is no longer good.
    ///
    /// # Errors
    /// [`IdempotencyError::TooLarge`].
    pub fn finish_batch(&self, answer: &StoredAnswer) -> Result<Batch, IdempotencyError> {
        Ok(self.finish_beside(answer)?.0)
    }

    /// As [`Self::finish_batch`], and gives a key for rows of the caller's own in the same commit, with the rest of the
    /// answer: [`Idempotency::beside`] finds it again, and they are forgotten when the answer is.
    ///
    /// # Errors
    /// As [`Self::finish_batch`].
    pub fn finish_beside(&self, answer: &StoredAnswer) -> Result<(Batch, Key), IdempotencyError> {
        let inner = &self.idempotency.inner;
        for (size, limit) in [(answer.body.len(), MAX_ANSWER), (answer.content_type.len(), MAX_CONTENT_TYPE)]
        {
            if size > limit {
                return Err(IdempotencyError::TooLarge { size, limit });
            }
        }
        let answer = encode(&Answer(answer.clone()));
        let sealed = inner.host_key.seal(Context::Answer(self.row.as_bytes()), &answer, &*inner.randomness);
        let remembered = Remembered {
            fingerprint: self.fingerprint,
            until: inner.clock.now().saturating_add(ANSWER_KEPT),
            state: State::Answered(sealed),
        };
        let mut batch = Batch::new();
        batch.require(self.row.clone(), self.holds.clone()).put(self.row.clone(), encode(&remembered));
        Ok((batch, rows::beside(&self.row, remembered.until)))
    }

    /// Whether a commit failed because another request of the same key was quicker, or took over.
    #[must_use]
    pub fn lost(&self, error: &StoreError) -> bool {
        matches!(error, StoreError::Conflict(key) if *key == self.row)
    }

    /// Remembers `answer`, with a commit of its own.
    ///
    /// # Errors
    /// [`IdempotencyError::TooLarge`], [`IdempotencyError::Lost`]; the store's.
    pub async fn finish(self, answer: &StoredAnswer) -> Result<(), IdempotencyError> {
        let mut batch = self.finish_batch(answer)?;
        if answer.body.len() <= LITTLE {
            batch.frees();
        }
        match self.idempotency.inner.store.commit(batch).await {
            Ok(_) => Ok(()),
            Err(error) if self.lost(&error) => Err(IdempotencyError::Lost),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the key free again: nothing came of the request.
    ///
    /// # Errors
    /// The store's; the claim then lapses by itself.
    pub async fn abandon(self) -> Result<(), IdempotencyError> {
        if !self.claimed {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.require(self.row.clone(), self.holds.clone()).delete(self.row.clone());
        match self.idempotency.inner.store.commit(batch).await {
            Ok(_) => Ok(()),
            // Another request has it: nothing is left to give free.
            Err(error) if self.lost(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("row", &self.row)
            .field("claimed", &self.claimed)
            .finish_non_exhaustive()
    }
}

/// The text of a structured field's string (RFC 8941, 3.3.3) without its quotes and escapes.
fn unquoted(text: &[u8]) -> Option<Vec<u8>> {
    let inside = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => bytes.push(*rest.next().filter(|escaped| matches!(escaped, b'\\' | b'"'))?),
            b'"' => return None,
            _ => bytes.push(*byte),
        }
    }
    Some(bytes)
}
