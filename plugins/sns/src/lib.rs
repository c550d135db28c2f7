//! The formatter for Amazon SNS: each opening, update and closing is published to a topic, with attributes that
//! subscriptions can filter by. On a FIFO topic an incident's notifications are in order, and one that comes twice is
//! dropped.

use bellwether_sdk::formatter::{
    Event, Exchange, FormatterError, HttpAnswer, Notification, Request, Signing, Sigv4, Step, Text,
    check_url, formatter,
};
use bellwether_sdk::formatting::{Plain, Room, Story, check_text, severity, stable_key};
use bellwether_sdk::{Secret, SettingError, Settings};

/// Which topic, and who publishes.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Sns {
    /// The topic, such as arn:aws:sns:eu-central-1:123456789012:alerts.
    pub topic_arn: String,
    /// The id of the access key.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: Secret,
    /// The session token, for keys that have one.
    pub session_token: Option<Secret>,
    /// Where SNS is; by default where the topic's region has it.
    pub endpoint: Option<String>,
}

fn check(settings: &Sns) -> Result<(), SettingError> {
    if Topic::of(&settings.topic_arn).is_none() {
        let expected = "a topic such as arn:aws:sns:eu-central-1:123456789012:alerts";
        return Err(SettingError::new("topic_arn", &settings.topic_arn, expected));
    }
    check_text("access_key_id", &settings.access_key_id, 128)?;
    settings.endpoint.as_ref().map_or(Ok(()), |endpoint| check_url("endpoint", endpoint))
}

/// A topic's name, taken apart.
struct Topic<'a> {
    partition: &'a str,
    region: &'a str,
    fifo: bool,
}

impl<'a> Topic<'a> {
    fn of(arn: &'a str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "sns", region, account, name] = parts[..] else { return None };
        let word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        let plain = name.strip_suffix(".fifo").unwrap_or(name);
        let named = !plain.is_empty()
            && name.len() <= 256
            && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let good = word(partition) && word(region) && !account.is_empty();
        let good = good && account.bytes().all(|byte| byte.is_ascii_digit());
        (good && named).then_some(Self { partition, region, fifo: name.ends_with(".fifo") })
    }

    fn endpoint(&self) -> String {
        let domain = if self.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://sns.{}.{domain}", self.region)
    }
}

/// Characters of a subject, of ASCII (SNS: Publish).
const SUBJECT: usize = 100;

/// Bytes of a message: with attributes and names it stays below the 256 KB of a publication.
const MESSAGE: usize = 250_000;

/// Characters of a FIFO topic's group.
const GROUP: usize = 128;

/// Errors that pass, though they come with a status that says otherwise.
const PASSING: [&str; 4] =
    ["<Code>Throttl", "<Code>KMSThrottling", "<Code>RequestExpired", "<Code>InternalError"];

/// Publishes incidents to a topic of Amazon SNS.
#[formatter]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the settings over")]
pub fn next(exchange: &Exchange, settings: Sns) -> Result<Step, FormatterError> {
    match exchange.http() {
        Some(answer) => end(answer),
        None => Ok(send(&exchange.notification, &settings)),
    }
}

fn end(answer: &HttpAnswer) -> Result<Step, FormatterError> {
    let text = answer.text();
    if !answer.is_success() && PASSING.iter().any(|code| text.contains(code)) {
        return Ok(Step::retry(reason(answer, &text)));
    }
    if answer.status == 404 && text.contains("<Code>NotFound") {
        return Ok(Step::gone(reason(answer, &text)));
    }
    if (400..500).contains(&answer.status)
        && text.contains("<Message>")
        && !matches!(answer.status, 408 | 425 | 429)
    {
        return Ok(Step::fail(reason(answer, &text)));
    }
    answer.success_in_text("a MessageId", |text| text.contains("<MessageId>"))?;
    Ok(Step::done())
}

/// The error's code and message, which stand on later lines of the XML.
fn reason(answer: &HttpAnswer, text: &str) -> String {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once("</").map(|(value, _)| Room::characters(200).cut(value.trim()))
    };
    let parts: Vec<String> = ["Code", "Message"].into_iter().filter_map(element).collect();
    format!("the channel answered {}: {}", answer.status, parts.join(": "))
}

fn send(notification: &Notification, settings: &Sns) -> Step {
    let topic = Topic::of(&settings.topic_arn).expect("the settings were checked");
    let story = Story::of(notification);
    let message = format!("{}\n\n{}", story.headline, story.body(&Plain, Room::bytes(MESSAGE), true));
    let mut form = vec![
        ("Action".to_owned(), "Publish".to_owned()),
        ("Version".to_owned(), "2010-03-31".to_owned()),
        ("TopicArn".to_owned(), settings.topic_arn.clone()),
        ("Subject".to_owned(), subject(&story.headline)),
        ("Message".to_owned(), message),
    ];
    let event = match notification.event {
        Event::Opened => "opened",
        Event::Updated => "updated",
        Event::Closed => "closed",
        Event::Test => "test",
    };
    let attributes = [
        ("event", "String", event.to_owned()),
        ("severity", "String", severity(notification.incident.severity).to_lowercase()),
        ("incident", "String", stable_key(&notification.incident.id, 256)),
        ("sequence", "Number", notification.sequence.to_string()),
    ];
    for (index, (name, kind, value)) in attributes.into_iter().enumerate() {
        let entry = format!("MessageAttributes.entry.{}", index + 1);
        form.push((format!("{entry}.Name"), name.to_owned()));
        form.push((format!("{entry}.Value.DataType"), kind.to_owned()));
        form.push((format!("{entry}.Value.StringValue"), value));
    }
    if topic.fifo {
        form.push(("MessageGroupId".to_owned(), stable_key(&notification.incident.id, GROUP)));
        // With the event's sequence in it: an update is no repetition of the opening.
        form.push(("MessageDeduplicationId".to_owned(), notification.idempotency_key.clone()));
    }
    let mut body = Text::new();
    for (index, (name, value)) in form.iter().enumerate() {
        body = body.text(if index > 0 { "&" } else { "" }).text(name).text("=");
        for (index, word) in value.split(' ').enumerate() {
            body = body.text(if index > 0 { "+" } else { "" }).percent(word);
        }
    }
    let endpoint = settings.endpoint.clone().unwrap_or_else(|| topic.endpoint());
    let request = Request::post(format!("{}/", endpoint.trim_end_matches('/')))
        .header("content-type", "application/x-www-form-urlencoded")
        .text(body)
        .signed(Signing::Sigv4(Sigv4 {
            access_key: Text::from(&settings.access_key_id).parts().to_vec(),
            secret_key: settings.secret_access_key.name().to_owned(),
            session_token: settings.session_token.as_ref().map(|token| token.name().to_owned()),
            region: topic.region.to_owned(),
            service: "sns".to_owned(),
        }));
    Step::send(request)
}

/// A subject is ASCII and begins with a letter, a digit or a mark; what is none becomes a question mark.
fn subject(headline: &str) -> String {
    let ascii =
        headline.chars().map(|character| if (' '..='~').contains(&character) { character } else { '?' });
    let ascii: String = ascii.collect();
    match ascii.len() > SUBJECT {
        true => format!("{}...", ascii[..SUBJECT - 3].trim_end()),
        false => ascii.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests;
