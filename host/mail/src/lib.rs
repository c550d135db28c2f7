//! E-mail for alerts' channels: one message over SMTP, each recipient's fate told apart.

mod message;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use bellwether_alerts::{Letter, Mailer, Posted, Refusal, SendError};
use bellwether_kernel::FieldError;
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};

/// How long one answer of the server is waited for, and a connection with its greetings; that to the message itself, which it
/// may look through first, for as long as [`WHOLE`] leaves: given up sooner, it would be sent twice.
const ANSWER: Duration = Duration::from_secs(30);
/// How long the whole of it may take.
const WHOLE: Duration = Duration::from_secs(120);
/// How long the end of a connection may take: what becomes of the message is known by then.
const END: Duration = Duration::from_secs(5);

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte on.
    Tls,
    /// TLS once the connection is there; nothing is sent without it.
    Starttls,
    /// None: for a server on the same machine.
    None,
}

/// The mail server and who writes.
pub struct MailSettings {
    /// The server's name or address.
    pub server: String,
    /// Its port; by default 465 with TLS, 587 with STARTTLS, 25 with neither.
    pub port: Option<u16>,
    /// How the connection is protected.
    pub security: Security,
    /// User and password, for a server that asks for them.
    pub credentials: Option<(String, String)>,
    /// The sender: an address, or a name and an address in `<>`.
    pub from: String,
    /// A certificate, PEM, that is trusted besides the system's.
    pub trusted: Option<Vec<u8>>,
}

/// Sends e-mail by one server; each message has a connection of its own.
pub struct SmtpMailer {
    server: String,
    port: u16,
    security: Security,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    from: Mailbox,
    hello: ClientId,
    /// [`ANSWER`].
    answer: Duration,
}

/// Whether messages can be sent by `from`.
///
/// # Errors
/// Names `email.from`.
pub fn check_sender(from: &str) -> Result<(), FieldError> {
    sender(from).map(drop)
}

fn sender(from: &str) -> Result<Mailbox, FieldError> {
    let expected = "an address, as in Bellwether <alerts@example.com>";
    from.parse().map_err(|_| FieldError::new("email.from", from, expected))
}

impl SmtpMailer {
    /// A mailer.
    ///
    /// # Errors
    /// Names the setting that is wrong, as `email.from`.
    pub fn new(settings: MailSettings) -> Result<Self, FieldError> {
        let MailSettings { server, port, security, credentials, from, trusted } = settings;
        let from = sender(&from)?;
        let wrong = |error: &Error| {
            FieldError::new("email.server", &server, format!("a server TLS can be spoken to: {error}"))
        };
        let tls = match security {
            Security::None => None,
            Security::Tls | Security::Starttls => {
                let mut parameters = TlsParameters::builder(server.clone());
                if let Some(pem) = trusted {
                    let certificate = lettre::transport::smtp::client::Certificate::from_pem(&pem);
                    let certificate = certificate.map_err(|error| {
                        FieldError::new("email.trusted_certificate", error, "a certificate, PEM")
                    })?;
                    parameters = parameters.add_root_certificate(certificate);
                }
                Some(parameters.build_rustls().map_err(|error| wrong(&error))?)
            }
        };
        let default = match security {
            Security::Tls => 465,
            Security::Starttls => 587,
            Security::None => 25,
        };
        Ok(Self {
            port: port.unwrap_or(default),
            server,
            security,
            tls,
            credentials: credentials.map(|(user, password)| Credentials::new(user, password)),
            from,
            hello: ClientId::default(),
            answer: ANSWER,
        })
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        let implicit = self.tls.clone().filter(|_| self.security == Security::Tls);
        let place = (self.server.as_str(), self.port);
        let connected = AsyncSmtpConnection::connect_tokio1(place, None, &self.hello, implicit, None);
        let mut connection = self.answered(connected).await?.map_err(|error| self.lost(&error))?;
        if let (Security::Starttls, Some(tls)) = (self.security, &self.tls) {
            if !connection.can_starttls() {
                drop(tokio::time::timeout(END, connection.abort()).await);
                return Err(SendError::Lost(format!(
                    "the mail server {} offers no STARTTLS, and nothing is sent without it",
                    self.server
                )));
            }
            let secured = self.answered(connection.starttls(tls.clone(), &self.hello)).await?;
            secured.map_err(|error| self.lost(&error))?;
        }
        if let Some(credentials) = &self.credentials {
            // What the server says may repeat what it was sent.
            let known = connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials);
            self.answered(known).await?.map_err(|error| {
                let code = error.status().map(|code| format!(", {code}")).unwrap_or_default();
                SendError::Lost(format!(
                    "the mail server {} does not take this host's user and password{code}",
                    self.server
                ))
            })?;
        }
        Ok(connection)
    }

    /// What comes of a step, if it does not keep waiting for an answer that never comes.
    async fn answered<T>(
        &self,
        step: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, SendError> {
        let late = |_| {
            let seconds = self.answer.as_secs();
            SendError::Lost(format!(
                "the mail server {} did not answer within {seconds} seconds",
                self.server
            ))
        };
        tokio::time::timeout(self.answer, step).await.map_err(late)
    }

    fn lost(&self, error: &Error) -> SendError {
        SendError::Lost(format!("the mail server {}: {}", self.server, described(error)))
    }

    /// What the server says to the whole of a message: 5xx is for good, everything else for now.
    fn whole(&self, error: &Error) -> SendError {
        match error.is_permanent() {
            true => SendError::Refused(format!("the mail server {}: {}", self.server, described(error))),
            false => self.lost(error),
        }
    }

    async fn send(&self, letter: &Letter) -> Result<Posted, SendError> {
        let message = message::write(&self.from, letter)?;
        let mut posted = Posted::default();
        let mut recipients = Vec::new();
        for text in letter.email.to.iter().chain(&letter.email.cc).filter(|one| !letter.done.contains(one)) {
            match message::mailbox(text) {
                Ok(mailbox) => recipients.push((text, mailbox.email)),
                Err(reply) => posted.refused.push(Refusal { address: text.clone(), code: 553, reply }),
            }
        }
        if recipients.is_empty() {
            return Ok(posted);
        }
        let mut connection = self.connect().await?;
        let sent = self.dialogue(&mut connection, recipients, &message, &mut posted).await;
        // The server has taken it or not: how the connection ends changes nothing.
        match &sent {
            Ok(()) => drop(tokio::time::timeout(END, connection.quit()).await),
            Err(_) => drop(tokio::time::timeout(END, connection.abort()).await),
        }
        sent.map(|()| posted)
    }

    async fn dialogue(
        &self,
        connection: &mut AsyncSmtpConnection,
        recipients: Vec<(&String, Address)>,
        message: &[u8],
        posted: &mut Posted,
    ) -> Result<(), SendError> {
        let is_beyond_ascii = |address: &Address| !address.to_string().is_ascii();
        let international =
            is_beyond_ascii(&self.from.email) || recipients.iter().any(|(_, to)| is_beyond_ascii(to));
        let mut parameters = Vec::new();
        if international && connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let from = Mail::new(Some(self.from.email.clone()), parameters);
        self.answered(connection.command(from)).await?.map_err(|error| self.whole(&error))?;
        let mut accepted = Vec::new();
        for (text, address) in recipients {
            let recipient = connection.command(Rcpt::new(address, Vec::new()));
            let Err(error) = self.answered(recipient).await? else {
                accepted.push(text.clone());
                continue;
            };
            let Some(code) = error.status() else { return Err(self.lost(&error)) };
            let (address, reply) = (text.clone(), described(&error));
            match code.to_string().parse().ok().filter(|_| error.is_permanent()) {
                Some(code) => posted.refused.push(Refusal { address, code, reply }),
                None => posted.deferred.push((address, reply)),
            }
        }
        if accepted.is_empty() {
            return Ok(());
        }
        self.answered(connection.command(Data)).await?.map_err(|error| self.whole(&error))?;
        connection.message(message).await.map_err(|error| self.whole(&error))?;
        posted.accepted = accepted;
        Ok(())
    }
}

/// An error with its causes: the server's own words are among them.
fn described(error: &Error) -> String {
    use std::error::Error as _;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[async_trait]
impl Mailer for SmtpMailer {
    fn domain(&self) -> &str {
        self.from.email.domain()
    }

    async fn post(&self, letter: &Letter) -> Result<Posted, SendError> {
        let late = || {
            let seconds = WHOLE.as_secs();
            SendError::Lost(format!("the mail server {} took longer than {seconds} seconds", self.server))
        };
        tokio::time::timeout(WHOLE, self.send(letter)).await.map_err(|_| late())?
    }
}
