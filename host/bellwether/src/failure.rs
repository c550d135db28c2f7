//! Why a command failed, how that is told, and the exit code a script sees.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the exit codes mean; part of the help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 it worked, 1 the host refused or the command failed, 2 wrong usage, settings or files, 3 no host answers.";

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The host answered, and refused.
    Refused(Box<Problem>),
    /// The command line or the environment is wrong, or a file they name does not read as what it should be.
    Usage(String),
    /// No host answers.
    Unreachable {
        /// Where one was looked for.
        url: String,
        /// What happened instead of an answer.
        reason: String,
    },
    /// Anything else that went wrong on this side.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// What clap says of a wrong command line, without what it adds for people at a terminal.
impl From<&clap::Error> for Failure {
    fn from(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let said = text.trim_start_matches("error: ");
        let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|rest| said.find(rest)).min();
        Self::Usage(said[..end.unwrap_or(said.len())].trim_end().to_owned())
    }
}

impl Failure {
    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
        }
    }

    /// Whether the host says that there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == 404)
    }

    /// The failure for people: what happened, then what to do.
    pub(crate) fn for_people(&self) -> String {
        match self {
            Self::Refused(problem) => format!("error: {}", problem.for_people()),
            Self::Usage(message) => format!("error: {message}"),
            Self::Unreachable { url, reason } if reason.contains("certificate") => {
                format!("error: the host at {url} is not trusted ({reason})\nhint: {}", trust(reason))
            }
            Self::Unreachable { url, reason } => format!(
                "error: no host answers at {url} ({reason})\n\
                 hint: start one with `bellwether serve`, or say where it is with --url or BELLWETHER_URL"
            ),
            Self::Failed(error) => format!("error: {error:#}"),
        }
    }

    /// The failure for programs: one line of JSON.
    pub(crate) fn for_programs(&self) -> String {
        let error = match self {
            Self::Refused(problem) => json!({ "kind": "refused", "problem": problem }),
            Self::Usage(message) => json!({ "kind": "usage", "message": message }),
            Self::Unreachable { url, reason } => {
                json!({ "kind": "unreachable", "url": url, "message": reason })
            }
            Self::Failed(error) => json!({ "kind": "failed", "message": format!("{error:#}") }),
        };
        json!({ "error": error }).to_string()
    }
}

/// What to do about a certificate, by what rustls and webpki say of it.
fn trust(reason: &str) -> &'static str {
    if reason.contains("CaUsedAsEndEntity") {
        "its certificate is an authority's, which no host may show for its own. One that signs itself is made with\n\
         `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:<its name>`"
    } else if reason.contains("valid for name") || reason.contains("NotValidForName") {
        "give --url (or BELLWETHER_URL) a name that its certificate is for"
    } else if reason.contains("UnknownIssuer") {
        "if its certificate is signed by an authority of your own, or by itself, name the file with that certificate\n\
         with --ca or in BELLWETHER_CA"
    } else {
        "have its operator mend the certificate; --ca does not make this one good"
    }
}

/// What a host says when it refuses: RFC 9457.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// Which kind of problem: a URI.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// The kind in words.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What happened this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// Finds the request in the host's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    /// Which fields are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<FieldProblem>,
    /// Whether the request carried a key: a 401 means something else then.
    #[serde(skip)]
    pub(crate) key_was_sent: bool,
}

/// What is wrong with one field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FieldProblem {
    /// Its path.
    pub(crate) field: String,
    /// What it holds.
    pub(crate) value: Value,
    /// What would be right.
    pub(crate) expected: String,
}

impl Problem {
    /// Reads a refusal; whatever is not problem+json (a proxy's page) is told by its status and beginning.
    pub(crate) fn read(status: u16, body: &[u8], key_was_sent: bool) -> Self {
        let mut problem = serde_json::from_slice::<Self>(body)
            .ok()
            .filter(|problem| !problem.title.is_empty())
            .unwrap_or_else(|| {
                let text: String = String::from_utf8_lossy(body).trim().chars().take(300).collect();
                Self {
                    title: "the answer is not one of a Bellwether host".to_owned(),
                    detail: Some(text).filter(|text| !text.is_empty()),
                    ..Self::default()
                }
            });
        problem.status = status;
        problem.key_was_sent = key_was_sent;
        problem
    }

    fn for_people(&self) -> String {
        let mut text = format!("the host refused: {}", self.detail.as_ref().unwrap_or(&self.title));
        let mentioned = |field: &FieldProblem| {
            self.detail
                .as_ref()
                .is_some_and(|detail| detail.contains(&field.field) && detail.contains(&field.expected))
        };
        for error in self.errors.iter().filter(|error| !mentioned(error)) {
            let _ = write!(text, "\n  {} is {}, expected {}", error.field, error.value, error.expected);
        }
        let _ = write!(text, "\n  status {}", self.status);
        if let Some(request) = &self.request_id {
            let _ = write!(text, ", request {request}");
        }
        if let Some(hint) = self.hint() {
            let _ = write!(text, "\nhint: {hint}");
        }
        text
    }

    /// What to do about it, where the status tells.
    fn hint(&self) -> Option<&'static str> {
        match self.status {
            401 if self.key_was_sent => Some(
                "the key in BELLWETHER_KEY or --access-key is not one of this host, has expired or was revoked",
            ),
            401 => Some(
                "set BELLWETHER_KEY (or --access-key) to a key of this host; `bellwether serve` prints one at its first start",
            ),
            403 => Some("`bellwether whoami` shows whose key this is and what it may do"),
            429 => Some("the host is busy or the key's rate is used up; try again in a moment"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNPROCESSABLE: &[u8] = br#"{
        "type": "about:blank", "title": "Invalid request", "status": 422, "detail": "a sample is wrong",
        "request_id": "r-1", "errors": [{"field": "samples[3].key", "value": "", "expected": "1 to 200 characters"}]
    }"#;

    #[test]
    fn a_refusal_names_every_wrong_field_and_the_request() {
        let text = Failure::Refused(Box::new(Problem::read(422, UNPROCESSABLE, true))).for_people();
        for part in [
            "a sample is wrong",
            "samples[3].key is \"\", expected 1 to 200 characters",
            "status 422, request r-1",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_401_says_what_to_do_depending_on_whether_a_key_was_sent() {
        let body = br#"{"title": "Unauthenticated", "status": 401}"#;
        assert!(Problem::read(401, body, false).for_people().contains("set BELLWETHER_KEY"));
        assert!(Problem::read(401, body, true).for_people().contains("not one of this host"));
    }

    #[test]
    fn a_page_of_some_proxy_is_told_as_what_it_is() {
        let problem = Problem::read(502, b"<html>Bad gateway</html>", false);
        assert_eq!(problem.status, 502);
        let text = problem.for_people();
        assert!(text.contains("<html>Bad gateway</html>") && text.contains("status 502"), "{text}");
    }

    #[test]
    fn each_kind_of_failure_has_its_exit_code_and_reads_as_json() {
        let unreachable = Failure::Unreachable {
            url: "http://127.0.0.1:1/".to_owned(),
            reason: "connection refused".to_owned(),
        };
        assert!(unreachable.for_people().contains("bellwether serve"));
        for (failure, code, kind) in [
            (Failure::Refused(Box::default()), 1, "refused"),
            (Failure::Failed(anyhow::anyhow!("no")), 1, "failed"),
            (Failure::Usage("no".to_owned()), 2, "usage"),
            (unreachable, 3, "unreachable"),
        ] {
            assert_eq!(failure.exit_code(), code);
            let read: Value = serde_json::from_str(&failure.for_programs()).expect("JSON");
            assert_eq!(read["error"]["kind"], kind);
        }
    }
}
