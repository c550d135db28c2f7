//! What the tests put in the place of the world: a clock that follows the runtime's, a formatter of cards that looks one
//! up before it makes it, a network and a mail server that do as they are told.

use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;
use bellwether_access::Destination;
use bellwether_kernel::value::{Input, Value, ValueType};
use bellwether_kernel::{ErrorKind, FieldError};

use super::*;

/// Time as the runtime has it, which tests pause; and that can be set.
pub(super) struct TestClock {
    start: AtomicI64,
    began: tokio::time::Instant,
}

impl TestClock {
    pub(super) fn new(start: Timestamp) -> Self {
        Self { start: AtomicI64::new(start.as_milliseconds()), began: tokio::time::Instant::now() }
    }

    pub(super) fn advance(&self, milliseconds: i64) {
        self.start.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        Timestamp::from_milliseconds(self.start.load(Ordering::SeqCst)).unwrap().saturating_add(passed)
    }
}

/// Finds two formatters by their names: `cards` and `letters`.
pub(super) struct Cards(pub(super) Arc<Network>);

fn input(name: &str, secret: bool) -> Input {
    Input { secret, ..Input::new(name, ValueType::Text) }
}

impl Roles for Cards {
    fn detector(&self, _: OrganisationId, _: &str) -> Option<Arc<dyn Detector>> {
        None
    }

    fn forecaster(&self, _: OrganisationId, _: &str) -> Option<Arc<dyn Forecaster>> {
        None
    }

    fn formatter(&self, _: OrganisationId, name: &str) -> Option<Arc<dyn Formatter>> {
        let mut settings = vec![input("url", false), input("token", true), input("signing", false)];
        let required = self.0.required.lock().map(|name| Input { required: true, ..input(name, false) });
        settings.extend(required);
        let description = FormatterDescription { summary: String::new(), settings };
        match name {
            "cards" => Some(Arc::new(CardFormatter(description, Arc::clone(&self.0)))),
            "letters" => Some(Arc::new(LetterFormatter(description))),
            _ => None,
        }
    }
}

fn setting<'a>(settings: &'a Settings, name: &str) -> &'a str {
    settings
        .values()
        .iter()
        .find_map(|(own, value)| match value {
            Value::Text(text) if own == name => Some(text.as_str()),
            _ => None,
        })
        .unwrap_or_default()
}

/// Keeps one card for each incident: looks for it, makes it, changes it.
struct CardFormatter(FormatterDescription, Arc<Network>);

#[async_trait]
impl Formatter for CardFormatter {
    fn version(&self) -> &str {
        "1.0.0"
    }

    fn description(&self) -> &FormatterDescription {
        &self.0
    }

    async fn next(
        &self,
        notification: &Notification,
        settings: &Settings,
        memory: &[u8],
        last: Option<&Answer>,
    ) -> Result<Step, RoleError> {
        if let Some(kind) = (self.1.formatter.lock())(self.1.clock.now()) {
            if last.is_some() {
                self.1.unlearn(&notification.idempotency_key);
            }
            let message = "plugin cards 1.0.0: formatter.next: trapped".to_owned();
            return Err(RoleError::Failed { message, kind });
        }
        match setting(settings, "signing") {
            "" | "basic" | "oauth" | "forgets" => {}
            "never" => return Ok(Step::Fail { reason: "nothing is signed so".to_owned() }),
            "broken" => return Err(RoleError::Refused("cards does not sign".to_owned())),
            other => {
                return Err(FieldError::new("settings.signing", other, "basic or oauth").into());
            }
        }
        let send = |method: &str, path: String, memory: Vec<u8>| {
            let text = |text: &str| Part::Text(text.to_owned());
            let header = |name: &str, value: Vec<Part>| Header { name: name.to_owned(), value };
            let secret = Part::Secret("token".to_owned(), SecretEncoding::Percent);
            let signing = match setting(settings, "signing") {
                "basic" => vec![Signing::Basic(Basic {
                    user: vec![text("me")],
                    password: vec![Part::Secret("token".to_owned(), SecretEncoding::Plain)],
                })],
                "oauth" => vec![Signing::Oauth(OAuth {
                    token_url: vec![text("https://cards.example/token")],
                    grant: Grant::ClientCredentials,
                    client_id: vec![text("me")],
                    client_secret: Some("token".to_owned()),
                    scope: None,
                    audience: None,
                })],
                _ => Vec::new(),
            };
            Step::Send {
                outgoing: Outgoing::Http(HttpRequest {
                    method: method.to_owned(),
                    url: vec![text(setting(settings, "url")), text(&path)],
                    headers: vec![
                        header("x-key", vec![text(&notification.idempotency_key)]),
                        header("x-token", vec![secret]),
                    ],
                    body: vec![text(&notification.incident.title)],
                    signing,
                }),
                memory,
            }
        };
        let incident = &notification.incident.id;
        let Some(Answer::Http(answer)) = last else {
            return Ok(match memory {
                b"" => send("GET", format!("/find/{incident}"), Vec::new()),
                card => send("PUT", format!("/card/{}", String::from_utf8_lossy(card)), card.to_vec()),
            });
        };
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(match answer.status {
            200 if memory.is_empty() => send("PUT", format!("/card/{body}"), body.into_bytes()),
            200 if setting(settings, "signing") == "forgets" => Step::Done { memory: Vec::new() },
            200 => Step::Done { memory: memory.to_vec() },
            201 => Step::Done { memory: body.into_bytes() },
            404 => send("POST", format!("/make/{incident}"), Vec::new()),
            429 | 500 | 503 => Step::Retry { after: answer.retry_after, reason: format!("answered {body}") },
            410 => Step::Gone { reason: format!("gone: {body}") },
            status => Step::Fail { reason: format!("answered {status}: {body}") },
        })
    }
}

/// Sends one e-mail.
struct LetterFormatter(FormatterDescription);

#[async_trait]
impl Formatter for LetterFormatter {
    fn version(&self) -> &str {
        "1.0.0"
    }

    fn description(&self) -> &FormatterDescription {
        &self.0
    }

    async fn next(
        &self,
        notification: &Notification,
        _: &Settings,
        memory: &[u8],
        last: Option<&Answer>,
    ) -> Result<Step, RoleError> {
        let Some(Answer::Email(answer)) = last else {
            let email = Email {
                to: vec!["a@acme.example".into(), "b@acme.example".into(), "c@acme.example".into()],
                cc: Vec::new(),
                reply_to: None,
                subject: notification.incident.title.clone(),
                text: "text".into(),
                html: None,
            };
            return Ok(Step::Send { outgoing: Outgoing::Email(email), memory: memory.to_vec() });
        };
        Ok(match answer.refused.len() {
            3 => Step::Fail { reason: "refused for everybody".into() },
            _ => Step::Done { memory: Vec::new() },
        })
    }
}

/// What the network does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives, and so does its answer.
    Arrives,
    /// It is answered with this status, and nothing happens.
    Answered(u16),
    /// As [`Self::Answered`] with 429, to come back in so many seconds.
    Later(u32),
    /// As [`Self::Later`], with 503.
    Away(u32),
    /// It is answered with a redirect to somewhere else.
    Elsewhere,
    /// It never arrives.
    Lost,
    /// It arrives, and its answer does not.
    Unanswered,
    /// It arrives, and nothing comes for half a minute.
    Hangs,
}

/// A request that did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) time: Timestamp,
    pub(super) channel: String,
    pub(super) incident: String,
    pub(super) sequence: u32,
    pub(super) method: String,
    /// Whether the host was told.
    pub(super) told: bool,
    /// Which life of the host sent it.
    pub(super) life: u64,
}

/// Chooses a fate for each request.
pub(super) type Fates = Box<dyn FnMut(Timestamp) -> Fate + Send>;

/// Says how a call of the formatter of cards fails, if it does.
pub(super) type Failures = Box<dyn FnMut(Timestamp) -> Option<ErrorKind> + Send>;

/// A network with one receiver: it keeps cards, and notes what it is sent.
pub(super) struct Network {
    clock: Arc<TestClock>,
    pub(super) fates: Mutex<Fates>,
    pub(super) formatter: Mutex<Failures>,
    /// A setting that formatters cannot do without.
    pub(super) required: Mutex<Option<&'static str>>,
    pub(super) effects: Mutex<Vec<Effect>>,
    /// Every request whole, with when it came.
    pub(super) requests: Mutex<Vec<(Timestamp, String)>>,
    /// Cards by channel and incident: how often each was made.
    pub(super) cards: Mutex<BTreeMap<(String, String), u32>>,
    pub(super) life: AtomicU64,
    /// What is answered, in order, to whoever asks for a token, in place of one.
    pub(super) no_tokens: Mutex<VecDeque<&'static str>>,
    /// What is put into every answer's body in place of what it would be.
    pub(super) echo: Mutex<Option<String>>,
    pub(super) at_once: Mutex<BTreeMap<(String, String), u32>>,
    pub(super) overlaps: AtomicU64,
}

impl Network {
    pub(super) fn new(clock: Arc<TestClock>) -> Self {
        Self {
            clock,
            fates: Mutex::new(Box::new(|_| Fate::Arrives)),
            formatter: Mutex::new(Box::new(|_| None)),
            required: Mutex::default(),
            effects: Mutex::default(),
            requests: Mutex::default(),
            cards: Mutex::default(),
            life: AtomicU64::new(0),
            no_tokens: Mutex::default(),
            echo: Mutex::default(),
            at_once: Mutex::default(),
            overlaps: AtomicU64::new(0),
        }
    }

    /// Deals these fates out in order, and lets everything arrive from then on.
    pub(super) fn deal(&self, fates: &[Fate]) {
        let mut fates = VecDeque::from(fates.to_vec());
        *self.fates.lock() = Box::new(move |_| fates.pop_front().unwrap_or(Fate::Arrives));
    }

    pub(super) fn sequences(&self) -> Vec<u32> {
        self.effects.lock().iter().map(|effect| effect.sequence).collect()
    }

    /// The formatter failed at an answer: what was told arrived, and the host does not know.
    fn unlearn(&self, key: &str) {
        let key: DeliveryId = key.parse().unwrap();
        let own = |effect: &&mut Effect| {
            (&effect.channel, &effect.incident, effect.sequence)
                == (&key.channel, &key.incident, key.sequence)
        };
        self.effects.lock().iter_mut().filter(own).for_each(|effect| effect.told = false);
    }

    fn receive(&self, request: &FilledRequest, key: &DeliveryId) -> (u16, String) {
        let path = url::Url::parse(&request.url).unwrap().path().to_owned();
        let card = (key.channel.clone(), key.incident.clone());
        let mut cards = self.cards.lock();
        if request.method == "GET" {
            return if cards.contains_key(&card) {
                (200, key.incident.clone())
            } else {
                (404, String::new())
            };
        }
        if path.starts_with("/make/") {
            *cards.entry(card).or_default() += 1;
        }
        let (channel, incident) = (key.channel.clone(), key.incident.clone());
        self.effects.lock().push(Effect {
            time: self.clock.now(),
            channel,
            incident,
            sequence: key.sequence,
            method: request.method.clone(),
            told: false,
            life: self.life.load(Ordering::SeqCst),
        });
        if request.method == "POST" { (201, key.incident.clone()) } else { (200, key.incident.clone()) }
    }
}

/// Counts a request of a line as on its way until it is dropped.
struct OnItsWay<'a>(&'a Network, (String, String));

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        *self.0.at_once.lock().entry(self.1.clone()).or_default() -= 1;
    }
}

#[async_trait]
impl HttpSender for Network {
    async fn send(&self, request: FilledRequest, hosts: &[Destination]) -> Result<HttpAnswer, SendError> {
        let (url, method) = (url::Url::parse(&request.url).unwrap(), request.method.parse().unwrap());
        if !hosts.iter().any(|host| host.permits(&method, &url)) {
            return Err(SendError::Refused(format!("the channel does not {method} {}", request.url)));
        }
        let headers: Vec<String> =
            request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let whole = format!("{} {}\n{}\n\n{body}", request.method, request.url, headers.join("\n"));
        self.requests.lock().push((self.clock.now(), whole));
        let answer = |status: u16, headers: Vec<(String, String)>, body: String| {
            Ok(HttpAnswer { status, headers, body: body.into_bytes(), retry_after: None })
        };
        if url.path() == "/token" {
            if let Some(page) = self.no_tokens.lock().pop_front() {
                return answer(200, Vec::new(), page.to_owned());
            }
            let token = format!(
                r#"{{"access_token":"token-number-{}","expires_in":3600}}"#,
                self.requests.lock().len()
            );
            return answer(200, Vec::new(), token);
        }
        let key = request.headers.iter().find(|(name, _)| name == "x-key").map(|(_, key)| key.clone());
        let key: DeliveryId = key.unwrap().parse().unwrap();
        let line = (key.channel.clone(), key.incident.clone());
        {
            let mut at_once = self.at_once.lock();
            let count = at_once.entry(line.clone()).or_default();
            *count += 1;
            if *count > 1 {
                self.overlaps.fetch_add(1, Ordering::SeqCst);
            }
        }
        let _on_its_way = OnItsWay(self, line);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let fate = (self.fates.lock())(self.clock.now());
        let lost = |text: &str| Err(SendError::Lost(format!("{text}: {}", request.url)));
        let echo = self.echo.lock().clone();
        match fate {
            Fate::Answered(status) => answer(status, Vec::new(), echo.unwrap_or("no".to_owned())),
            Fate::Later(seconds) => {
                let headers = vec![("retry-after".to_owned(), seconds.to_string())];
                answer(429, headers, echo.unwrap_or("later".to_owned()))
            }
            Fate::Away(seconds) => {
                let headers = vec![("retry-after".to_owned(), seconds.to_string())];
                answer(503, headers, echo.unwrap_or("away".to_owned()))
            }
            Fate::Elsewhere => {
                let headers = vec![("location".to_owned(), "https://elsewhere.example/hook".to_owned())];
                answer(302, headers, String::new())
            }
            Fate::Lost => lost("the connection was refused"),
            Fate::Unanswered => {
                self.receive(&request, &key);
                tokio::time::sleep(Duration::from_millis(5)).await;
                lost("the connection was closed half way")
            }
            Fate::Hangs => {
                self.receive(&request, &key);
                tokio::time::sleep(Duration::from_secs(30)).await;
                lost("no answer came in time")
            }
            Fate::Arrives => {
                let (status, body) = self.receive(&request, &key);
                let effects = self.effects.lock().len();
                tokio::time::sleep(Duration::from_millis(5)).await;
                if status != 404
                    && request.method != "GET"
                    && let Some(effect) = self.effects.lock()[..effects].iter_mut().rev().find(|effect| {
                        effect.sequence == key.sequence
                            && effect.incident == key.incident
                            && effect.channel == key.channel
                    })
                {
                    effect.told = true;
                }
                answer(status, Vec::new(), body)
            }
        }
    }
}

/// A mail server: what it says to each recipient, in order of the attempts; it takes what it has nothing to say to. What
/// it says to nobody (`*`) is that it is not there.
pub(super) struct Post {
    /// Whether a host that starts is set to it.
    pub(super) is_there: AtomicBool,
    pub(super) says: Mutex<VecDeque<Vec<(&'static str, u16)>>>,
    pub(super) letters: Mutex<Vec<Letter>>,
}

impl Default for Post {
    fn default() -> Self {
        Self { is_there: AtomicBool::new(true), says: Mutex::default(), letters: Mutex::default() }
    }
}

#[async_trait]
impl Mailer for Post {
    fn domain(&self) -> &str {
        "mail.example"
    }

    async fn post(&self, letter: &Letter) -> Result<Posted, SendError> {
        self.letters.lock().push(letter.clone());
        let says = self.says.lock().pop_front().unwrap_or_default();
        if says.iter().any(|(about, _)| *about == "*") {
            return Err(SendError::Lost("the mail server is not there".to_owned()));
        }
        let mut posted = Posted::default();
        for address in letter.email.to.iter().filter(|address| !letter.done.contains(address)) {
            match says.iter().find(|(about, _)| about == address) {
                None => posted.accepted.push(address.clone()),
                Some((_, code)) if *code < 500 => posted.deferred.push((address.clone(), "busy".into())),
                Some((_, code)) => {
                    let (address, reply) = (address.clone(), "unknown".to_owned());
                    posted.refused.push(Refusal { address, code: *code, reply });
                }
            }
        }
        Ok(posted)
    }
}
