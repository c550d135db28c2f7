//! One component that does everything a plugin should not, a mode at a time: as an app of playbooks and as a dialect,
//! so that a test sees what a run says and what an HTTP caller is answered.

mod attacks;
mod forged;

use bellwether_sdk::dialect::{Authentication, Request, Response, Router, dialect};
use bellwether_sdk::host::{Clock, HttpClient, Log, State};
use bellwether_sdk::{AppError, Inputs, Outputs, app};

use attacks::{Attack, attack};

/// What a playbook says.
#[derive(Inputs)]
pub struct Order {
    /// What to do: a name from `attacks.rs`.
    pub mode: String,
    /// Where to, for the modes that send a request.
    #[input(default = "")]
    pub url: String,
    /// What is told to everybody, in the mode that betrays it.
    #[input(secret)]
    pub token: Option<String>,
}

/// What came of it.
#[derive(Outputs)]
pub struct Spoils {
    /// In words.
    pub said: String,
    /// As a number.
    pub score: f64,
    /// As many texts.
    pub texts: Vec<String>,
}

/// Does harm, as told.
#[app]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the inputs over")]
pub fn run(host: &(impl Clock + HttpClient + Log + State), order: Order) -> Result<Spoils, AppError> {
    if let Order { mode, token: Some(token), .. } = &order
        && mode == "betray"
    {
        host.info(&format!("I was given {token}"));
        panic!("I do not keep {token}");
    }
    let Attack { said, score, texts } = attack(host, &order.mode, &order.url).map_err(AppError::fatal)?;
    Ok(Spoils { said, score, texts })
}

/// Whoever has a key; state belongs to an organisation.
const AUTHENTICATION: &[Authentication] = &[Authentication::HeaderKey("X-Key")];

/// Does harm, as told.
#[dialect]
pub fn routes<H: Clock + HttpClient + Log + State>() -> Router<H> {
    Router::new().authenticate(AUTHENTICATION).get("/{mode}", |host: &H, request: &Request<'_>| {
        let url = request.query("url").unwrap_or_default();
        match attack(host, request.parameter("mode"), url) {
            Ok(attack) => Response::text(200, attack.said),
            Err(error) => Response::text(422, error),
        }
    })
}
