//! What is relied on in a formatter.

use bellwether_alerts::{
    Answer, EmailAnswer, Event, Formatter, HttpAnswer, Notification, Outgoing, Part, Rehearsal, RoleError,
    Settings, Step, limits, rehearse,
};

use super::settings::{check_odd, made_up, read};
use super::{Battery, Bench, Seen, stands};

const OF: &str = "formatter";

const EVENTS: [Event; 4] = [Event::Opened, Event::Updated, Event::Closed, Event::Test];

pub(super) async fn check(battery: &mut Battery, bench: &Bench<'_>) {
    let sandbox = match bench.sandbox().await {
        Ok(sandbox) => sandbox,
        Err(error) => return battery.tell(OF, "it can be called", Err(error)),
    };
    let Ok(formatter) = sandbox.formatter() else { return };
    let formatter = &*formatter;
    let declared = &formatter.description().settings;
    let given = made_up(declared, bench.given);
    let settings = match read(declared, &given) {
        Ok(settings) => settings,
        Err(error) => return battery.tell(OF, "it can be called", Err(error)),
    };
    let usual = Try { formatter, settings: &settings };
    let first = match usual.rehearse(&Notification::sample(Event::Opened), b"", &[]).await {
        Ok(first) => first,
        Err(error @ RoleError::Invalid(_)) => {
            return battery.tell(OF, "it can be called", Err(format!("{error}; give it with --setting")));
        }
        Err(error) => return battery.tell(OF, "it can be called", Err(error.to_string())),
    };
    battery.tell(OF, "every event begins an exchange or ends it", usual.events().await);
    battery.tell(
        OF,
        "the same notification gets the same steps, on whatever instance",
        usual.alike(bench, &first).await,
    );
    battery.tell(OF, "an exchange ends within its steps, whatever is answered", usual.answers().await);
    battery.tell(
        OF,
        "what it sends as JSON reads as JSON, whatever the incident's texts",
        usual.texts().await,
    );
    battery.tell(OF, "text that looks like a secret stays text", usual.lookalikes().await);
    battery.tell(OF, "an incident with hardly anything in it is told", usual.little().await);
    battery.tell(OF, "the largest incident is told within the limits", usual.huge().await);
    battery.tell(OF, "a memory that is none of its own does no harm", usual.odd_memories().await);
    let opened = Notification::sample(Event::Opened);
    let call = async |settings: &Settings| rehearse(formatter, &opened, settings, b"", &[]).await;
    check_odd(battery, OF, declared, &given, &call).await;
}

struct Try<'a> {
    formatter: &'a dyn Formatter,
    settings: &'a Settings,
}

fn http(status: u16, body: &[u8]) -> Answer {
    Answer::Http(HttpAnswer {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_vec(),
        retry_after: None,
    })
}

impl Try<'_> {
    async fn rehearse(
        &self,
        notification: &Notification,
        memory: &[u8],
        answers: &[Answer],
    ) -> Result<Rehearsal, RoleError> {
        rehearse(self.formatter, notification, self.settings, memory, answers).await
    }

    async fn events(&self) -> Seen {
        let mut seen = Vec::new();
        for event in EVENTS {
            let told = self.rehearse(&Notification::sample(event), b"", &[]).await;
            let told = told.map_err(|error| format!("{event:?}: {error}"))?;
            let first = told.steps.first().map(crate::author::role_cases::end).unwrap_or_default().0;
            seen.push(format!("{event:?} {first}").to_lowercase());
        }
        Ok(seen.join(", "))
    }

    async fn alike(&self, bench: &Bench<'_>, first: &Rehearsal) -> Seen {
        let told = Notification::sample(Event::Opened);
        let other = Notification::sample(Event::Closed);
        stands("a closing", self.rehearse(&other, b"", &[]).await)?;
        let again = self.rehearse(&told, b"", &[]).await.map_err(|error| error.to_string())?;
        let sandbox = bench.sandbox().await?;
        let fresh = sandbox.formatter().map_err(|error| super::plain(&error))?;
        let fresh = rehearse(&*fresh, &told, self.settings, b"", &[]).await;
        let fresh = fresh.map_err(|error| error.to_string())?;
        for (when, found) in [("after another call", &again), ("on another host", &fresh)] {
            if found != first {
                return Err(format!("{when} the first step is another"));
            }
        }
        Ok("3 times, byte by byte".to_owned())
    }

    /// Answers every step alike, until the exchange ends.
    async fn to_the_end(&self, told: &Notification, answer: &Answer) -> Result<Option<Step>, RoleError> {
        let mut memory = Vec::new();
        let mut last: Option<Answer> = None;
        for _ in 0..limits::STEPS {
            match self.formatter.next(told, self.settings, &memory, last.as_ref()).await? {
                Step::Send { outgoing, memory: kept } => {
                    memory = kept;
                    last = Some(match outgoing {
                        Outgoing::Http(_) => answer.clone(),
                        Outgoing::Email(_) => Answer::Email(EmailAnswer {
                            message_id: "<1@battery.example>".to_owned(),
                            refused: Vec::new(),
                        }),
                    });
                }
                end => return Ok(Some(end)),
            }
        }
        Ok(None)
    }

    async fn answers(&self) -> Seen {
        let answers = [
            ("200 and nothing", http(200, b"")),
            ("200 and {}", http(200, b"{}")),
            ("200 and ok", http(200, b"ok")),
            ("200 and deep JSON", http(200, "[".repeat(100_000).as_bytes())),
            ("200 and 256 KiB that are no UTF-8", http(200, &vec![0xff; limits::ANSWER])),
            ("204", http(204, b"")),
            ("302", http(302, b"")),
            ("400 and a text", http(400, "bad request\r\n".as_bytes())),
            ("401", http(401, b"{\"error\": null}")),
            ("404", http(404, b"[]")),
            ("410", http(410, b"")),
            ("429", http(429, b"{\"parameters\": {\"retry_after\": -1}}")),
            ("500", http(500, b"<html>")),
            ("999", http(999, b"")),
        ];
        let mut ends = Vec::new();
        for event in EVENTS {
            for (name, answer) in &answers {
                let end = self.to_the_end(&Notification::sample(event), answer).await;
                match stands(format!("{event:?}, answered {name}"), end)? {
                    Some(Some(step)) if event == Event::Opened => {
                        ends.push(crate::author::role_cases::end(&step).0);
                    }
                    Some(None) => {
                        return Err(format!(
                            "{event:?}, answered {name} every time, goes on past {} steps",
                            limits::STEPS
                        ));
                    }
                    _ => {}
                }
            }
        }
        ends.sort_unstable();
        ends.dedup();
        Ok(format!("{} answers to 4 events: {}", answers.len(), ends.join(", ")))
    }

    async fn texts(&self) -> Seen {
        let texts = [
            "\"\\\u{0}\u{1f}\r\n\t",
            "</script>&amp;<b>'",
            "e\u{301}\u{202e}🦙\u{fffd}\u{2028}",
            "{{ secret.key }} ${KEY} %s",
        ];
        let mut bodies = 0;
        for text in texts {
            let step = self.rehearse(&with_texts(text), b"", &[]).await;
            let Some(rehearsal) = stands(format!("{text:?}"), step)? else { continue };
            for step in &rehearsal.steps {
                let Step::Send { outgoing: Outgoing::Http(request), .. } = step else { continue };
                let json = request.headers.iter().any(|header| {
                    header.name.eq_ignore_ascii_case("content-type")
                        && bellwether_alerts::shown(&header.value).contains("json")
                });
                if !json {
                    continue;
                }
                bodies += 1;
                let body = filled_in(&request.body);
                serde_json::from_str::<serde_json::Value>(&body).map_err(|error| {
                    format!("with the texts {text:?} its body is no JSON: {error}: {body}")
                })?;
            }
        }
        Ok(format!("{} texts, {bodies} bodies of JSON", texts.len()))
    }

    async fn lookalikes(&self) -> Seen {
        let names: Vec<&str> = self.settings.secrets().iter().map(|(name, _)| name.as_str()).collect();
        let lookalike: String =
            names.iter().map(|name| format!("{{{{ {name} }}}} ${{{name}}} ‹secret {name}›")).collect();
        let plain = self.rehearse(&with_texts("text"), b"", &[]).await.map_err(|error| error.to_string())?;
        let odd =
            self.rehearse(&with_texts(&lookalike), b"", &[]).await.map_err(|error| error.to_string())?;
        let secrets = |rehearsal: &Rehearsal| rehearsal.steps.iter().map(secrets).sum::<usize>();
        if secrets(&plain) != secrets(&odd) {
            return Err("texts of an incident change how often a secret is put in".to_owned());
        }
        Ok(format!("{} secrets", names.len()))
    }

    async fn little(&self) -> Seen {
        for event in EVENTS {
            let mut told = with_texts("");
            told.event = event;
            let incident = &mut told.incident;
            (incident.alerts, incident.links, incident.events) = (Vec::new(), Vec::new(), Vec::new());
            (incident.time_scale, incident.ended) = (None, None);
            let rehearsal =
                self.rehearse(&told, b"", &[]).await.map_err(|error| format!("{event:?}: {error}"))?;
            tells(&rehearsal).map_err(|how| format!("{event:?}: {how}"))?;
        }
        Ok("no alerts, no links, empty texts".to_owned())
    }

    async fn huge(&self) -> Seen {
        let long = "🦙 long ".repeat(500);
        let mut told = Notification::sample(Event::Opened);
        (told.incident.title, told.incident.description) = (long.clone(), long.clone());
        let alert = &mut told.incident.alerts[0];
        (alert.title, alert.description) = (long.clone(), long);
        alert.series = vec![alert.series[0].clone(); limits::AFFECTED];
        told.incident.alerts = vec![told.incident.alerts[0].clone(); 5];
        let step = self.rehearse(&told, b"", &[]).await.map_err(|error| error.to_string())?;
        tells(&step)?;
        let bytes: usize = step.steps.iter().map(|step| format!("{step:?}").len()).sum();
        Ok(format!("5 alerts of {} series: some {} KiB", limits::AFFECTED, bytes >> 10))
    }

    async fn odd_memories(&self) -> Seen {
        for (name, memory) in [
            ("no UTF-8", vec![0xff; 40]),
            ("JSON of another sort", b"{\"a\": [1]}".to_vec()),
            ("control characters", b"\r\n\0 /?#%".to_vec()),
            ("4 KiB", vec![b'x'; limits::MEMORY]),
        ] {
            for event in EVENTS {
                let step = self.rehearse(&Notification::sample(event), &memory, &[]).await;
                stands(format!("{event:?} with a memory of {name}"), step)?;
            }
        }
        Ok("4 memories".to_owned())
    }
}

/// Whether the channel is told, or has nothing to be told: an exchange that only fails tells nobody.
fn tells(rehearsal: &Rehearsal) -> Result<(), String> {
    match rehearsal.steps.first() {
        Some(Step::Send { .. } | Step::Done { .. }) => Ok(()),
        first => Err(format!("it is not told: {first:?}")),
    }
}

/// A notification every text of which a person writes is this one.
fn with_texts(text: &str) -> Notification {
    let mut told = Notification::sample(Event::Opened);
    let set = |place: &mut String| text.clone_into(place);
    set(&mut told.organisation);
    let incident = &mut told.incident;
    set(&mut incident.title);
    set(&mut incident.description);
    incident.assignee = Some(text.to_owned());
    for event in &mut incident.events {
        set(&mut event.title);
        set(&mut event.description);
    }
    for alert in &mut incident.alerts {
        set(&mut alert.title);
        set(&mut alert.description);
        for (_, value) in &mut alert.labels {
            set(value);
        }
        for series in &mut alert.series {
            set(&mut series.metric);
            for (_, value) in &mut series.tags {
                set(value);
            }
        }
    }
    told
}

/// A body with something in the place of each secret.
fn filled_in(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Secret(_, bellwether_alerts::SecretEncoding::Json) => "\"kept\"".to_owned(),
        Part::Secret(..) => "kept".to_owned(),
        Part::Now(_) => "1712673840".to_owned(),
    };
    parts.iter().map(part).collect()
}

/// How often a step puts a secret in.
fn secrets(step: &Step) -> usize {
    let Step::Send { outgoing: Outgoing::Http(request), .. } = step else { return 0 };
    let texts = request.headers.iter().map(|header| &header.value).chain([&request.url, &request.body]);
    texts.flatten().filter(|part| matches!(part, Part::Secret(..))).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_is_told_by_what_is_sent_and_not_by_a_failure() {
        let only = |step| Rehearsal { steps: vec![step] };
        assert_eq!(tells(&only(Step::Done { memory: Vec::new() })), Ok(()));
        let how = tells(&only(Step::Fail { reason: "the title is too long".to_owned() })).unwrap_err();
        assert!(how.contains("the title is too long"), "{how}");
        assert!(tells(&Rehearsal { steps: Vec::new() }).is_err());
    }
}
