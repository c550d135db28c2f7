//! An exchange with answers that are given: nothing is sent.

use bellwether_kernel::FieldError;
use serde::Serialize;

use crate::{Answer, Formatter, Notification, Outgoing, RoleError, Settings, Step, limits};

/// An exchange as far as the answers that were given lead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rehearsal {
    /// In order. All but the last are sent; the last is the end, or what waits for an answer.
    pub steps: Vec<Step>,
}

/// Drives an exchange with the answers given, in order, and sends nothing.
///
/// # Errors
/// If a step comes to nothing, if an answer is of another kind than what it answers or is left over, or if the exchange
/// goes on past [`limits::STEPS`].
pub async fn rehearse(
    formatter: &dyn Formatter,
    notification: &Notification,
    settings: &Settings,
    memory: &[u8],
    answers: &[Answer],
) -> Result<Rehearsal, RoleError> {
    let mut steps: Vec<Step> = Vec::new();
    let mut memory = memory.to_vec();
    let mut last = None;
    let mut rest = answers.iter().enumerate();
    loop {
        let step = formatter.next(notification, settings, &memory, last).await?;
        steps.push(step.clone());
        let Step::Send { outgoing, memory: kept } = step else { break };
        if steps.len() == limits::STEPS {
            let version = formatter.version();
            return Err(RoleError::Refused(format!(
                "version {version} sends for the {}th time and would go on: an exchange has at most {} steps",
                limits::STEPS,
                limits::STEPS
            )));
        }
        let Some((index, answer)) = rest.next() else { return Ok(Rehearsal { steps }) };
        match (&outgoing, answer) {
            (Outgoing::Http(_), Answer::Http(_)) | (Outgoing::Email(_), Answer::Email(_)) => {}
            (Outgoing::Http(_), Answer::Email(_)) => {
                return Err(FieldError::new(
                    format!("answers[{index}]"),
                    "email",
                    "http: a request was sent",
                )
                .into());
            }
            (Outgoing::Email(_), Answer::Http(_)) => {
                return Err(FieldError::new(
                    format!("answers[{index}]"),
                    "http",
                    "email: an e-mail was sent",
                )
                .into());
            }
        }
        (memory, last) = (kept, Some(answer));
    }
    match rest.next() {
        None => Ok(Rehearsal { steps }),
        Some((index, _)) => {
            let found = format!("an answer after {} steps", steps.len());
            Err(FieldError::new(format!("answers[{index}]"), found, "none: the exchange is over").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{EmailAnswer, Event, FormatterDescription, HttpAnswer, HttpRequest};

    /// Asks until it is answered 200, and keeps how often it was.
    struct Stubborn(FormatterDescription);

    #[async_trait]
    impl Formatter for Stubborn {
        fn version(&self) -> &str {
            "1.0.0"
        }

        fn description(&self) -> &FormatterDescription {
            &self.0
        }

        async fn next(
            &self,
            _: &Notification,
            _: &Settings,
            memory: &[u8],
            last: Option<&Answer>,
        ) -> Result<Step, RoleError> {
            let memory = [memory, b"."].concat();
            Ok(match last {
                Some(Answer::Http(answer)) if answer.status == 200 => Step::Done { memory },
                _ => {
                    let request = HttpRequest {
                        method: "GET".to_owned(),
                        url: Vec::new(),
                        headers: Vec::new(),
                        body: Vec::new(),
                        signing: Vec::new(),
                    };
                    Step::Send { outgoing: Outgoing::Http(request), memory }
                }
            })
        }
    }

    async fn rehearsed(statuses: &[u16]) -> Result<Rehearsal, RoleError> {
        let answers: Vec<Answer> = statuses
            .iter()
            .map(|&status| {
                Answer::Http(HttpAnswer { status, headers: Vec::new(), body: Vec::new(), retry_after: None })
            })
            .collect();
        try_rehearse(&answers).await
    }

    async fn try_rehearse(answers: &[Answer]) -> Result<Rehearsal, RoleError> {
        let formatter = Stubborn(FormatterDescription { summary: String::new(), settings: Vec::new() });
        let notification = Notification::sample(Event::Opened);
        rehearse(&formatter, &notification, &Settings::default(), b"", answers).await
    }

    #[tokio::test]
    async fn an_exchange_goes_as_far_as_its_answers_lead_and_hands_memory_on() {
        assert_eq!(rehearsed(&[]).await.expect("a step").steps.len(), 1);
        let done = rehearsed(&[500, 200]).await.expect("it ends");
        assert_eq!(done.steps.len(), 3);
        assert_eq!(done.steps[2], Step::Done { memory: b"...".to_vec() });
    }

    #[tokio::test]
    async fn an_answer_too_many_or_of_another_kind_is_named_and_an_endless_exchange_ends() {
        let field = |error: RoleError| match error {
            RoleError::Invalid(error) => error.field,
            other => other.to_string(),
        };
        assert_eq!(field(rehearsed(&[200, 200]).await.expect_err("one too many")), "answers[1]");
        let email = Answer::Email(EmailAnswer { message_id: "a@b".to_owned(), refused: Vec::new() });
        assert_eq!(field(try_rehearse(&[email]).await.expect_err("another kind")), "answers[0]");
        let endless = field(rehearsed(&[500; 20]).await.expect_err("endless"));
        assert!(endless.contains("at most 8 steps"), "{endless}");
    }
}
