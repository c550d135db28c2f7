//! The exchange of one notification with one channel: the formatter says what is sent, this sends it.

use std::time::Duration;

use bellwether_kernel::{ErrorKind, OrganisationId};
use bytes::Bytes;

use super::letters::Letters;
use super::record::Noted;
use super::{Deliveries, DeliveryId, backoff};
use crate::AlertError;
use crate::channel::Channel;
use crate::sending::{FilledRequest, Letter, Mask, Secrets, SendError, fill};
use crate::{
    Answer, Email, EmailAnswer, Formatter, HttpAnswer, HttpRequest, Notification, Outgoing, RoleError,
    Settings, Step, limits,
};

/// Characters of where a redirect leads that are told.
const LOCATION: usize = 300;

/// Why no e-mail is sent.
pub(crate) const NO_MAIL_SERVER: &str =
    "this host has no mail server, which e-mail needs; who runs it can set one, email.server in the settings";

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The channel took it; this is to be kept.
    Done(Vec<u8>),
    /// Not before so many milliseconds.
    Retry { after: Option<u64>, reason: String },
    /// The formatter failed at it: it trapped, took too long, or its answer is none.
    Broken(String),
    /// The formatter was not called: too many calls wait, or it failed at others lately.
    Uncalled(String),
    /// Not ever.
    Fail(String),
    /// The channel is no more.
    Gone(String),
}

/// Where memory is kept while an exchange goes on.
pub(super) struct Keep<'a> {
    pub(super) organisation: OrganisationId,
    pub(super) id: &'a DeliveryId,
    pub(super) channel: &'a Channel,
    /// The delivery as it is stored.
    pub(super) stored: &'a Bytes,
}

/// An exchange.
pub(super) struct Talk<'a> {
    deliveries: &'a Deliveries,
    organisation: OrganisationId,
    channel: &'a Channel,
    settings: Settings,
    secrets: Secrets,
    mask: Mask,
    notification: Notification,
    /// What the formatter kept last.
    pub(super) memory: Vec<u8>,
    pub(super) letters: Letters,
    pub(super) exchanges: Vec<Noted>,
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        deliveries: &'a Deliveries,
        organisation: OrganisationId,
        channel: &'a Channel,
        settings: Settings,
        secrets: Secrets,
        notification: Notification,
    ) -> Self {
        let mask = secrets.mask();
        Self {
            deliveries,
            organisation,
            channel,
            settings,
            secrets,
            mask,
            notification,
            memory: Vec::new(),
            letters: Letters::default(),
            exchanges: Vec::new(),
        }
    }

    /// Drives the exchange to its end.
    ///
    /// # Errors
    /// The store's, where memory could not be kept; a conflict if somebody else works at the delivery.
    pub(super) async fn run(
        &mut self,
        formatter: &dyn Formatter,
        keep: Option<&Keep<'_>>,
    ) -> Result<End, AlertError> {
        let mut last: Option<Answer> = None;
        for number in 1..=limits::STEPS {
            let step = formatter.next(&self.notification, &self.settings, &self.memory, last.as_ref()).await;
            let (outgoing, kept) = match step {
                Ok(Step::Send { outgoing, memory }) => (outgoing, memory),
                Ok(Step::Done { memory }) => return Ok(End::Done(memory)),
                Ok(Step::Retry { after, reason }) => {
                    // What the server asked for counts, whatever the formatter makes of it.
                    let asked = match &last {
                        Some(Answer::Http(answer)) => answer.retry_after,
                        _ => None,
                    };
                    let reason = redirected(reason, last.as_ref());
                    return Ok(self.masked(End::Retry { after: after.max(asked), reason }));
                }
                Ok(Step::Fail { reason }) => {
                    return Ok(self.masked(End::Fail(redirected(reason, last.as_ref()))));
                }
                Ok(Step::Gone { reason }) => return Ok(self.masked(End::Gone(reason))),
                Err(error) => return Ok(self.masked(of_role(&error))),
            };
            if number == limits::STEPS {
                break;
            }
            if kept != self.memory {
                if let Some(keep) = keep {
                    keep.keep(self.deliveries, &kept).await?;
                }
                self.memory = kept;
            }
            if number > 1 {
                self.wait_for_room(keep.is_some()).await;
            }
            last = Some(match self.send(outgoing, keep).await {
                Ok(answer) => answer,
                Err(end) => return Ok(self.masked(end)),
            });
        }
        let reason = format!("the formatter does not come to an end within {} steps", limits::STEPS);
        Ok(End::Fail(reason))
    }

    fn masked(&self, end: End) -> End {
        let masked = |reason: String| self.mask.text(&reason).into_owned();
        match end {
            End::Done(memory) => End::Done(memory),
            End::Retry { after, reason } => End::Retry { after, reason: masked(reason) },
            End::Broken(reason) => End::Broken(masked(reason)),
            End::Uncalled(reason) => End::Uncalled(masked(reason)),
            End::Fail(reason) => End::Fail(masked(reason)),
            End::Gone(reason) => End::Gone(masked(reason)),
        }
    }

    /// Waits until the channel may be sent another request. A delivery keeps no worker meanwhile; a test has none.
    async fn wait_for_room(&self, is_delivery: bool) {
        let channel = (self.organisation, self.channel.name.clone());
        while let Err(until) = self.deliveries.count_request(&channel, self.channel.spec.rate) {
            match is_delivery {
                true => self.deliveries.pause(&channel, until).await,
                false => {
                    tokio::time::sleep(self.deliveries.until(until).max(Duration::from_millis(1))).await;
                }
            }
        }
    }

    /// Sends what a step says and notes it.
    async fn send(&mut self, outgoing: Outgoing, keep: Option<&Keep<'_>>) -> Result<Answer, End> {
        let began = self.deliveries.clock.now();
        let sent = match &outgoing {
            Outgoing::Http(request) => self.request(request).await.map(Answer::Http),
            Outgoing::Email(email) => self.letter(email, keep).await.map(Answer::Email),
        };
        let took = self.deliveries.clock.now().milliseconds_since(began);
        let mut noted = Noted {
            request: outgoing,
            status: None,
            answer: None,
            error: None,
            milliseconds: u64::try_from(took).unwrap_or_default(),
        };
        match &sent {
            Ok(Answer::Http(answer)) => {
                noted.status = Some(answer.status);
                noted.answer = Some(String::from_utf8_lossy(&answer.body).into_owned());
            }
            Ok(Answer::Email(answer)) => {
                noted.answer = Some(self.letters.answered(answer));
            }
            Err(End::Retry { reason, .. } | End::Fail(reason)) => {
                noted.error = Some(self.mask.text(reason).into_owned());
            }
            // How the formatter ends an exchange, which it is not asked for here.
            Err(End::Done(_) | End::Broken(_) | End::Uncalled(_) | End::Gone(_)) => {}
        }
        self.exchanges.push(noted);
        sent
    }

    async fn request(&mut self, request: &HttpRequest) -> Result<HttpAnswer, End> {
        let (mut filled, with_token) = self.fill(request, false).await?;
        let hosts = &self.channel.spec.hosts;
        let mut answer = self.deliveries.http.send(filled, hosts).await.map_err(ended)?;
        if answer.status == 401 && with_token {
            // The token was taken back before its time. Nothing was done yet, so the request may be repeated at once.
            (filled, _) = self.fill(request, true).await?;
            answer = self.deliveries.http.send(filled, hosts).await.map_err(ended)?;
        }
        answer.retry_after = backoff::retry_after(&answer, self.deliveries.clock.now());
        // A server may repeat what it was sent, and nobody but it is to see that, nor the first part of what the
        // cut divides.
        answer.body = self.mask.bytes(&answer.body);
        answer.body.truncate(limits::ANSWER);
        for (_, value) in &mut answer.headers {
            *value = self.mask.text(value).into_owned();
        }
        Ok(answer)
    }

    /// A request with everything in it, and whether a token is part of that.
    async fn fill(&mut self, request: &HttpRequest, fresh: bool) -> Result<(FilledRequest, bool), End> {
        let now = self.deliveries.clock.now();
        let filled = fill(request, &self.secrets, now).map_err(End::Fail)?;
        let mut sent = filled.request;
        // What signing added is worth as much as what it was made with.
        for (_, value) in sent.headers.iter().skip(request.headers.len()) {
            self.mask.learn("signature", value.rsplit([' ', '=']).next().unwrap_or_default());
            self.mask.learn("signature", value);
        }
        let Some(oauth) = &filled.oauth else { return Ok((sent, false)) };
        let token = self.deliveries.tokens.token(
            (self.organisation, oauth),
            &self.secrets,
            (&*self.deliveries.http, &self.channel.spec.hosts),
            now,
            fresh,
        );
        let token = token.await.map_err(ended)?;
        self.mask.learn("token", &token);
        sent.headers.push(("authorization".to_owned(), format!("Bearer {}", token.as_str())));
        Ok((sent, true))
    }

    async fn letter(&mut self, email: &Email, keep: Option<&Keep<'_>>) -> Result<EmailAnswer, End> {
        let Some(mail) = &self.deliveries.mail else {
            // Who runs the host can set one and start it anew, as a formatter is switched on again.
            return Err(End::Retry { after: None, reason: NO_MAIL_SERVER.to_owned() });
        };
        let is_first = self.letters.begin();
        let (domain, key) = (mail.domain(), &self.notification.idempotency_key);
        let letter = Letter {
            email: email.clone(),
            message_id: match is_first {
                true => format!("{key}@{domain}"),
                false => format!("{key}.{}@{domain}", self.letters.sent()),
            },
            references: vec![format!("{}.{}@{domain}", self.notification.incident.id, self.channel.name)],
            done: if is_first { self.letters.done() } else { Vec::new() },
        };
        let posted = self.letters.posted(&letter, mail.post(&letter).await).map_err(ended)?;
        let (refused, deferred) = (self.letters.take(is_first, &posted), posted.deferred);
        let message_id = letter.message_id;
        if deferred.is_empty() {
            return Ok(EmailAnswer { message_id, refused });
        }
        // What follows the first would be sent to everybody again, were the exchange begun anew for it.
        let is_told = match is_first {
            true => !self.letters.accepted.is_empty() && self.is_late(keep).await,
            false => !posted.accepted.is_empty(),
        };
        if !is_told {
            if is_first {
                self.letters.wait();
            }
            return Err(later(&deferred));
        }
        self.letters.give_up(deferred);
        Ok(EmailAnswer { message_id, refused })
    }

    /// Whether those a mail server has not taken an e-mail for yet are not waited for any longer, where others have it.
    async fn is_late(&self, keep: Option<&Keep<'_>>) -> bool {
        let Some(keep) = keep else { return false };
        if self.letters.is_late(self.deliveries.clock.now()) {
            return true;
        }
        // A store that does not say so does not take either what would come of it.
        self.deliveries.is_followed(keep.organisation, keep.id).await.unwrap_or(false)
    }
}

/// A reason, and where the last answer leads if that is a redirect: who is told of it can set the channel to that.
fn redirected(reason: String, last: Option<&Answer>) -> String {
    let Some(Answer::Http(HttpAnswer { status: 301 | 302 | 303 | 307 | 308, headers, .. })) = last else {
        return reason;
    };
    let is_location = |name: &str| name.eq_ignore_ascii_case(http::header::LOCATION.as_str());
    match headers.iter().find(|(name, _)| is_location(name)) {
        Some((_, location)) => {
            let location: String = location.chars().take(LOCATION).collect();
            format!("{reason}; it redirects to {location}, and redirects are not followed")
        }
        None => reason,
    }
}

/// How an exchange ends whose e-mail somebody is still to get.
fn later(deferred: &[(String, String)]) -> End {
    let each = deferred.iter().map(|(address, reply)| format!("{address} yet: {reply}"));
    let each: Vec<String> = each.collect();
    End::Retry { after: None, reason: format!("the mail server does not take it for {}", each.join("; ")) }
}

fn ended(error: SendError) -> End {
    match error {
        SendError::Refused(reason) => End::Fail(reason),
        SendError::Lost(reason) => End::Retry { after: None, reason },
    }
}

/// How an exchange ends whose formatter did not answer.
fn of_role(error: &RoleError) -> End {
    let reason = error.to_string();
    match error {
        RoleError::Invalid(_) | RoleError::Refused(_) => End::Fail(reason),
        RoleError::Failed { kind, .. } => match kind {
            ErrorKind::Invalid => End::Fail(reason),
            ErrorKind::Plugin | ErrorKind::Deadline => End::Broken(reason),
            ErrorKind::Unavailable | ErrorKind::RateLimited => End::Uncalled(reason),
            _ => End::Retry { after: None, reason },
        },
        _ => End::Retry { after: None, reason },
    }
}
