//! What became of an e-mail's recipients: who has it, who was refused it, and how long those are waited for whom the mail
//! server does not take it yet.
//!
//! As long as nobody has it, an e-mail is as patient as any delivery. Once some have it, the others are waited for at
//! most [`limits::DEFERRED`], and no longer than until something follows: what comes later is for those who have it.

use bellwether_kernel::Timestamp;

use super::record::{DeliveryRow, cut};
use crate::channel::RetryPolicy;
use crate::sending::{Letter, Posted, SendError};
use crate::{EmailAnswer, Refusal, limits};

/// Bytes of what a mail server said of one recipient that are kept.
const REPLY: usize = 100;

/// The recipients of the first e-mail of an exchange, in this attempt and those before it.
#[derive(Default)]
pub(super) struct Letters {
    /// Those who have it: they are never sent it again.
    pub(super) accepted: Vec<String>,
    refused: Vec<Refusal>,
    /// Those who are not waited for any longer, of any e-mail of the exchange, and what the server said.
    given_up: Vec<(String, String)>,
    /// E-mails of this exchange.
    sent: u32,
    /// Until when the others are waited for once some have it; absent where there is one attempt alone.
    until: Option<Timestamp>,
    /// Whether this attempt is the last the channel's policy gives it.
    is_last: bool,
    /// Whether others are waited for now.
    waits: bool,
}

impl Letters {
    /// What is known before an attempt that begins now.
    pub(super) fn of(row: &DeliveryRow, retry: RetryPolicy, now: Timestamp) -> Self {
        let refused = row.refused.iter().cloned();
        let refused = refused.map(|(address, code, reply)| Refusal { address, code, reply });
        let age = i64::try_from(retry.max_age_seconds).unwrap_or(i64::MAX).saturating_mul(1_000);
        let first = row.first_attempt.unwrap_or(now);
        Self {
            accepted: row.accepted.clone(),
            refused: refused.collect(),
            until: Some(first.saturating_add(age.min(limits::DEFERRED.milliseconds()))),
            is_last: row.attempts - row.attempts_before + 1 >= retry.attempts,
            ..Self::default()
        }
    }

    /// Begins another e-mail; whether it is the first.
    pub(super) fn begin(&mut self) -> bool {
        self.sent += 1;
        self.sent == 1
    }

    pub(super) fn sent(&self) -> u32 {
        self.sent
    }

    /// Recipients the first e-mail is not sent to any more.
    pub(super) fn done(&self) -> Vec<String> {
        let refused = self.refused.iter().map(|one| &one.address);
        self.accepted.iter().chain(refused).cloned().collect()
    }

    /// What came of posting an e-mail. One that some have already is not lost: it is put off for the others.
    pub(super) fn posted(
        &self,
        letter: &Letter,
        posted: Result<Posted, SendError>,
    ) -> Result<Posted, SendError> {
        let reason = match posted {
            Err(SendError::Lost(reason) | SendError::Refused(reason))
                if letter.done.iter().any(|one| self.accepted.contains(one)) =>
            {
                reason
            }
            posted => return posted,
        };
        let all = letter.email.to.iter().chain(&letter.email.cc);
        let others = all.filter(|address| !letter.done.contains(address));
        let deferred = others.map(|address| (address.clone(), reason.clone())).collect();
        Ok(Posted { deferred, ..Posted::default() })
    }

    /// Takes in whom an e-mail was taken for; gives those it was refused for.
    pub(super) fn take(&mut self, is_first: bool, posted: &Posted) -> Vec<Refusal> {
        if !is_first {
            return posted.refused.clone();
        }
        self.accepted.extend(posted.accepted.iter().cloned());
        self.refused.extend(posted.refused.iter().cloned());
        self.refused.clone()
    }

    /// Whether the others are not waited for any longer.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        self.is_last || self.until.is_some_and(|until| now >= until)
    }

    /// Waits for those the first e-mail is not taken for yet; as long as any delivery would, while nobody has it.
    pub(super) fn wait(&mut self) {
        self.waits = !self.accepted.is_empty();
    }

    /// When an attempt that would be due then is made: the last one for the others as their time is over.
    pub(super) fn due(&self, due: Timestamp) -> Timestamp {
        match self.until {
            Some(until) if self.waits => due.min(until),
            _ => due,
        }
    }

    /// Does not wait for these any longer.
    pub(super) fn give_up(&mut self, recipients: Vec<(String, String)>) {
        self.given_up.extend(recipients);
    }

    /// Whom what was told did not reach, if there is somebody.
    pub(super) fn unreached(&self) -> Option<String> {
        let refused = self.refused.iter().map(said);
        let given_up = self.given_up.iter().map(|(address, reply)| format!("{address}: {reply}"));
        let each: Vec<String> = refused.chain(given_up).collect();
        (!each.is_empty()).then(|| format!("told, but not to {}", each.join("; ")))
    }

    /// What the mail server made of an e-mail, for the record.
    pub(super) fn answered(&self, answer: &EmailAnswer) -> String {
        let refused = answer.refused.iter().map(said).map(|one| format!("refused for {one}"));
        let given_up =
            self.given_up.iter().map(|(address, reply)| format!("not taken for {address}: {reply}"));
        let each: Vec<String> = refused.chain(given_up).collect();
        match each.is_empty() {
            true => "taken for all recipients".to_owned(),
            false => each.join("; "),
        }
    }

    /// Keeps what is known for the attempts to come.
    pub(super) fn keep(self, row: &mut DeliveryRow) {
        row.accepted = self.accepted;
        let refused = self.refused.into_iter().map(|mut one| {
            cut(&mut one.reply, REPLY);
            (one.address, one.code, one.reply)
        });
        row.refused = refused.collect();
    }
}

/// What a mail server said of one it refused.
fn said(one: &Refusal) -> String {
    format!("{}: {} {}", one.address, one.code, one.reply)
}
