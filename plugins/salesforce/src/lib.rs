//! The formatter for Salesforce: an incident is one case, upserted under an external id, so that a request that comes
//! twice changes nothing. The id is made of the channel too: two channels into one organisation make two cases.
//!
//! The object Case needs a text field that is unique and an external id: its API name is a setting. A test makes a case
//! and closes it.

use bellwether_sdk::formatter::{
    Event, Exchange, FormatterError, Grant, HttpAnswer, Notification, Oauth, Request, Severity, Signing,
    Step, Text, check_url, formatter,
};
use bellwether_sdk::formatting::{Plain, Room, Story, check_text, line_key, stable_key};
use bellwether_sdk::serde_json::{Value as Json, json};
use bellwether_sdk::{Secret, SettingError, Settings};

/// Which organisation takes the cases, and as whom.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Salesforce {
    /// The organisation's domain, such as `https://example.my.salesforce.com`.
    pub url: String,
    /// The consumer key of the connected app.
    pub client_id: String,
    /// The consumer secret of the connected app.
    pub client_secret: Secret,
    /// A refresh token; without one the app's client credentials are used.
    pub refresh_token: Option<Secret>,
    /// Where tokens are had; by default the domain's /services/oauth2/token.
    pub token_url: Option<String>,
    /// The version of the API.
    #[setting(default = "62.0")]
    pub api_version: String,
    /// The API name of the case's field that is the external id.
    #[setting(default = "BellwetherIncident__c")]
    pub external_id_field: String,
    /// The status of a case that is open.
    #[setting(default = "New")]
    pub open_status: String,
    /// The status of a case that is closed.
    #[setting(default = "Closed")]
    pub closed_status: String,
}

fn check(settings: &Salesforce) -> Result<(), SettingError> {
    check_url("url", &settings.url)?;
    settings.token_url.as_ref().map_or(Ok(()), |url| check_url("token_url", url))?;
    check_text("client_id", &settings.client_id, 255)?;
    let version = settings.api_version.strip_prefix('v').unwrap_or(&settings.api_version);
    let numbered = version.split_once('.').is_some_and(|(major, minor)| {
        (2..=3).contains(&major.len()) && minor == "0" && major.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !numbered {
        return Err(SettingError::new("api_version", &settings.api_version, "a version such as 62.0"));
    }
    let field = &settings.external_id_field;
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if field.len() > 80 || !field.ends_with("__c") || !field.bytes().all(word) {
        return Err(SettingError::new(
            "external_id_field",
            field,
            "a field's API name such as BellwetherIncident__c",
        ));
    }
    check_text("open_status", &settings.open_status, 255)?;
    check_text("closed_status", &settings.closed_status, 255)
}

/// Characters of a subject.
const SUBJECT: usize = 255;

/// Characters of a description.
const DESCRIPTION: usize = 32_000;

/// Characters of an external id.
const EXTERNAL_ID: usize = 100;

/// Errors that pass, though they come with a status that says otherwise. Of a token that ran out the host gets another.
const PASSING: [&str; 5] = [
    "REQUEST_LIMIT_EXCEEDED",
    "UNABLE_TO_LOCK_ROW",
    "SERVER_UNAVAILABLE",
    "INVALID_SESSION_ID",
    "QUERY_TIMEOUT",
];

/// What is kept after a test's first request: that the second closes the case.
const CLOSING: &[u8] = b"closing";

/// Opens a Salesforce case for each incident, keeps it up to date, and closes it.
#[formatter]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the settings over")]
pub fn next(exchange: &Exchange, settings: Salesforce) -> Result<Step, FormatterError> {
    let notification = &exchange.notification;
    let Some(answer) = exchange.http() else {
        return Ok(send(notification.event == Event::Closed, notification, &settings));
    };
    check_answer(answer)?;
    Ok(match notification.event {
        Event::Test if exchange.memory != CLOSING => send(true, notification, &settings).remember(CLOSING),
        Event::Test => Step::done().remember(Vec::new()),
        Event::Opened | Event::Updated | Event::Closed => Step::done(),
    })
}

fn check_answer(answer: &HttpAnswer) -> Result<(), FormatterError> {
    let codes: Vec<Json> = answer.json().unwrap_or_default();
    let code = codes.first().and_then(|error| error["errorCode"].as_str()).unwrap_or_default();
    if !answer.is_success() && (PASSING.contains(&code) || answer.status == 401) {
        return Err(answer.retry().into());
    }
    answer.success_in_json().map(|_| ())
}

fn send(closes: bool, notification: &Notification, settings: &Salesforce) -> Step {
    let incident = &notification.incident;
    // Without dots: what stands behind one in a path may be taken for a format.
    let id = stable_key(&line_key(notification, EXTERNAL_ID), EXTERNAL_ID);
    let story = Story::of(notification);
    let mut fields = json!({
        "Subject": Room::utf16(SUBJECT).cut(&story.headline),
        "Description": story.body(&Plain, Room::utf16(DESCRIPTION), true),
        "Priority": priority(incident.severity),
    });
    // An update leaves the status to those who work on the case.
    if closes {
        fields["Status"] = settings.closed_status.as_str().into();
    } else if notification.event != Event::Updated {
        fields["Status"] = settings.open_status.as_str().into();
    }
    let base = settings.url.trim_end_matches('/');
    let version = settings.api_version.trim_start_matches('v');
    let url =
        Text::from(format!("{base}/services/data/v{version}/sobjects/Case/{}/", settings.external_id_field))
            .percent(id);
    let token_url = settings.token_url.clone().unwrap_or_else(|| format!("{base}/services/oauth2/token"));
    let grant = match &settings.refresh_token {
        Some(token) => Grant::RefreshToken(token.name().to_owned()),
        None => Grant::ClientCredentials,
    };
    let request = Request::patch(url).json(&fields).signed(Signing::Oauth(Oauth {
        token_url: Text::from(token_url).parts().to_vec(),
        grant,
        client_id: Text::from(&settings.client_id).parts().to_vec(),
        client_secret: Some(settings.client_secret.name().to_owned()),
        scope: None,
        audience: None,
    }));
    Step::send(request)
}

fn priority(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "High",
        Severity::Medium => "Medium",
        Severity::Low | Severity::Info => "Low",
    }
}

#[cfg(test)]
mod tests;
