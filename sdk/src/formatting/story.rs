//! An incident in words.

use super::words::{clean, duration, moment, number, one_line, severity};
use super::{Markup, Room};
use crate::formatter::{
    AffectedSeries, Alert, Event, Excursion, Incident, Kind, Link, Notification, Purpose,
};

/// Characters of one line a person wrote.
const LINE: usize = 500;

/// Characters of a description.
const DESCRIPTION: usize = 4000;

/// Events that are told by their titles: so many fit a line.
const EVENTS: usize = 4;

/// Characters of such a title.
const TITLE: usize = 75;

/// Bytes of a URL that every channel takes.
const URL: usize = 2000;

/// A notification in words that every channel can show: control characters are gone, lines are lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// What happened to which incident, on one line.
    pub headline: String,
    /// What the incident says of itself; empty if it says nothing.
    pub description: String,
    /// The incident's figures.
    pub facts: Vec<Fact>,
    /// One for each alert.
    pub sections: Vec<Section>,
    /// The incident's pages, then those of its alerts; `https://` and `http://`, each once, each with a label.
    pub links: Vec<Link>,
    /// Pictures of series.
    pub images: Vec<Link>,
}

/// A figure and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// A word or two.
    pub name: &'static str,
    /// On one line.
    pub value: String,
}

/// What one alert says.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// On one line.
    pub title: String,
    /// Empty if there is none, or if it is the incident's.
    pub description: String,
    /// One for each series.
    pub lines: Vec<String>,
    /// Series beyond those.
    pub left_out: u64,
}

impl Story {
    /// The story of a notification.
    #[must_use]
    pub fn of(notification: &Notification) -> Self {
        let incident = &notification.incident;
        Self {
            headline: headline(notification),
            description: Room::characters(DESCRIPTION).cut(&clean(&incident.description)),
            facts: facts(notification),
            sections: incident.alerts.iter().map(|alert| Section::of(alert, incident)).collect(),
            links: links(incident, |purpose| purpose != Purpose::Image),
            images: links(incident, |purpose| purpose == Purpose::Image),
        }
    }

    /// Takes the pages out that may stand behind a button, of which the first `most` are given; the others stay to be
    /// written. Chats refuse a message whole for a button to a host that they hold for none: one without a dot, as
    /// `localhost`, that is no IPv6 address (Telegram: "Wrong HTTP URL").
    pub fn take_buttons(&mut self, most: usize) -> Vec<Link> {
        let (mut buttons, written): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.links).into_iter().partition(|link| is_linkable(&link.url));
        buttons.truncate(most);
        self.links = written;
        buttons
    }

    /// Everything but the headline, within `room`: whole lines, and as many of the series' as fit; what is left out is
    /// counted. `links` says whether pages are named too: a channel with buttons shows them there.
    #[must_use]
    pub fn body(&self, markup: &impl Markup, room: Room, links: bool) -> String {
        let mut page = Page { text: String::new(), taken: 0, room };
        let tail = self.tail(markup, if links { &self.links } else { &[] }, room);
        // What follows and the line that counts have their room first.
        page.room = room.beside(room.taken(&tail) + room.taken(&left_out(u64::MAX)) + 2);
        if !self.description.is_empty() {
            let half = page.room.beside(page.room.most() / 2);
            page.add(&half.cut_as(&self.description, |text| markup.text(text)));
            page.add("");
        }
        for fact in &self.facts {
            page.add(&format!("{} {}", markup.strong(&format!("{}:", fact.name)), markup.text(&fact.value)));
        }
        let mut missing = 0;
        for section in &self.sections {
            missing += section.left_out;
            let title = format!("\n{}", markup.strong(&section.title));
            let mut going = page.add(&title);
            if going && !section.description.is_empty() {
                let quarter = page.room.beside(page.room.most() / 4 * 3);
                page.add(&quarter.cut_as(&section.description, |text| markup.text(text)));
            }
            for line in &section.lines {
                going = going && page.add(&format!("{}{}", markup.bullet(), markup.text(line)));
                missing += u64::from(!going);
            }
        }
        page.room = room;
        if missing > 0 {
            page.add(&markup.text(&left_out(missing)));
        }
        page.add(&tail);
        page.text.trim_end().to_owned()
    }

    /// The alerts with as many of their series as fit into `room`, each line taking `beside` more than its text, and how
    /// many series are left out: for channels whose markup is a structure.
    #[must_use]
    pub fn sections_within(&self, room: Room, beside: usize) -> (Vec<Section>, u64) {
        let mut rest = room;
        let mut take = |text: &str| {
            let taken = room.taken(text) + beside;
            let fits = taken <= rest.most();
            rest = rest.beside(if fits { taken } else { rest.most() });
            fits
        };
        let mut missing = 0;
        let mut fitting = Vec::new();
        for section in &self.sections {
            let title = take(&section.title);
            let description = section.description.is_empty() || title && take(&section.description);
            let count = if title { section.lines.iter().take_while(|line| take(line)).count() } else { 0 };
            let left_out = section.left_out + (section.lines.len() - count) as u64;
            missing += left_out;
            if title {
                fitting.push(Section {
                    title: section.title.clone(),
                    description: if description { section.description.clone() } else { String::new() },
                    lines: section.lines[..count].to_vec(),
                    left_out,
                });
            }
        }
        (fitting, missing)
    }

    /// The lines of pages, as many as a third of the room holds.
    fn tail(&self, markup: &impl Markup, links: &[Link], room: Room) -> String {
        let mut page = Page { text: String::new(), taken: 0, room: room.beside(room.most() / 3 * 2) };
        for link in links {
            let begin = if page.text.is_empty() { "\n" } else { "" };
            if !page.add(&format!("{begin}{}", markup.link(&link.label, &link.url))) {
                break;
            }
        }
        page.text
    }
}

/// Lines as long as there is room.
struct Page {
    text: String,
    taken: usize,
    room: Room,
}

impl Page {
    /// Adds a line if it fits; says whether it did.
    fn add(&mut self, line: &str) -> bool {
        let taken = self.taken + self.room.taken(line) + usize::from(!self.text.is_empty());
        if taken > self.room.most() {
            return false;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(line);
        self.taken = taken;
        true
    }
}

fn left_out(count: u64) -> String {
    format!("… and {count} more series")
}

impl Section {
    fn of(alert: &Alert, incident: &Incident) -> Self {
        let description = clean(&alert.description);
        let told = description == clean(&incident.description);
        Self {
            title: filled(&alert.title, || format!("Monitor {}", alert.monitor)),
            description: if told { String::new() } else { Room::characters(DESCRIPTION).cut(&description) },
            lines: alert.series.iter().map(|series| line(series, alert.kind)).collect(),
            left_out: alert.left_out.into(),
        }
    }
}

/// The beginning of a text, long enough for a line whatever is dropped from it: what is far too long is not worked on.
fn beginning(text: &str) -> &str {
    text.char_indices().nth(4 * LINE).map_or(text, |(end, _)| &text[..end])
}

/// A text on one line, or what stands in for it.
fn filled(text: &str, otherwise: impl FnOnce() -> String) -> String {
    let line = one_line(beginning(text));
    let line = if line.is_empty() { one_line(&otherwise()) } else { line };
    Room::characters(LINE).cut(&line)
}

fn headline(notification: &Notification) -> String {
    let incident = &notification.incident;
    let title = filled(&incident.title, || format!("Incident {}", incident.id));
    let severity = severity(incident.severity);
    match notification.event {
        Event::Opened => format!("[{severity}] {title}"),
        Event::Updated => format!("[{severity}, update] {title}"),
        Event::Closed => format!("[Closed] {title}"),
        Event::Test => format!("[Test] {title}"),
    }
}

fn facts(notification: &Notification) -> Vec<Fact> {
    let incident = &notification.incident;
    let line = |text: &str| filled(text, String::new);
    let lasted = incident.ended.unwrap_or(notification.time).saturating_sub(incident.started);
    let mut labels: Vec<String> = Vec::new();
    for (name, value) in incident.alerts.iter().flat_map(|alert| &alert.labels) {
        let label = if value.is_empty() { name.clone() } else { format!("{name}:{value}") };
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    let facts = [
        ("Severity", Some(severity(incident.severity).to_owned())),
        ("Started", Some(moment(incident.started))),
        ("Ended", incident.ended.map(moment)),
        ("Duration", u64::try_from(lasted).ok().map(duration)),
        ("Organisation", Some(line(&notification.organisation))),
        ("Assignee", incident.assignee.as_deref().map(line)),
        ("Acknowledged by", incident.acknowledged_by.as_deref().map(line)),
        ("Labels", Some(line(&labels.join(", ")))),
        ("Events", Some(line(&events(incident)))),
    ];
    let fact = |(name, value): (&'static str, Option<String>)| {
        value.filter(|value| !value.is_empty()).map(|value| Fact { name, value })
    };
    facts.into_iter().filter_map(fact).collect()
}

/// What users said had happened, by titles: the nearest, and how many there are besides.
fn events(incident: &Incident) -> String {
    let titles = incident.events.iter().take(EVENTS);
    let title = |title: &str| Room::characters(TITLE).cut(title);
    let titles = titles.map(|event| format!("{} ({})", title(&event.title), moment(event.started)));
    let more = incident.events.len().saturating_sub(EVENTS);
    titles.chain((more > 0).then(|| format!("{more} more"))).collect::<Vec<_>>().join(", ")
}

/// A series and its figures.
fn line(series: &AffectedSeries, kind: Kind) -> String {
    let tags: Vec<String> = series.tags.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    let mut text = if tags.is_empty() {
        series.metric.clone()
    } else {
        format!("{}{{{}}}", series.metric, tags.join(","))
    };
    let mut figures: Vec<String> = Vec::new();
    let unit = series.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
    let sides = [(&series.upper, "+"), (&series.lower, "-")];
    for (excursion, sign) in sides.into_iter().filter_map(|(side, sign)| Some((side.as_ref()?, sign))) {
        figures.push(figure(excursion, sign, &unit, kind));
    }
    if figures.is_empty() {
        figures.extend(series.value.map(|value| format!("{}{unit}", number(value))));
    }
    figures.extend(series.threshold.map(|bound| format!("bound {}", number(bound))));
    figures.extend(series.score.map(|score| format!("score {}", number(score))));
    figures.extend(series.last_seen.map(|seen| format!("last seen {}", moment(seen))));
    if !series.open {
        figures.push(match &series.close_reason {
            Some(reason) => format!("closed, {reason}"),
            None => "closed".to_owned(),
        });
    }
    if !figures.is_empty() {
        text.push_str(": ");
        text.push_str(&figures.join("; "));
    }
    filled(&text, || series.id.clone())
}

fn figure(excursion: &Excursion, sign: &str, unit: &str, kind: Kind) -> String {
    let mut text = format!("peak {}{unit}", number(excursion.peak));
    // What is expected of a threshold is its bound, which is told by itself.
    if let (Some(expected), true) = (excursion.expected, kind == Kind::Anomaly) {
        text.push_str(&format!(", expected {}", number(expected)));
    }
    if let Some(percent) = excursion.delta_percentage {
        text.push_str(&format!(", {sign}{} %", number(percent.abs())));
    }
    text
}

/// Whether a URL's host has a dot or is an IPv6 address.
fn is_linkable(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.starts_with('[') || host.contains('.')
}

/// The pages of these purposes that every channel can link to.
fn links(incident: &Incident, wanted: impl Fn(Purpose) -> bool) -> Vec<Link> {
    let alerts = incident.alerts.iter();
    let of_alerts = alerts
        .flat_map(|alert| alert.links.iter().chain(alert.series.iter().flat_map(|series| &series.links)));
    let mut links: Vec<Link> = Vec::new();
    for link in incident.links.iter().chain(of_alerts).filter(|link| wanted(link.purpose)) {
        let good = (link.url.starts_with("https://") || link.url.starts_with("http://"))
            && link.url.len() <= URL
            && link.url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
        if !good || links.iter().any(|there| there.url == link.url) {
            continue;
        }
        let label = filled(&link.label, || {
            let word = match link.purpose {
                Purpose::Incident => "Incident",
                Purpose::Investigation => "Investigate",
                Purpose::Monitor => "Monitor",
                Purpose::Image => "Picture",
                Purpose::Action => "Action",
            };
            word.to_owned()
        });
        links.push(Link { label: Room::characters(75).cut(&label), ..link.clone() });
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formatter::UserEvent;
    use crate::formatting::{Html, Markdown, Mrkdwn, Plain};
    use crate::testing::{extremes, notification};

    #[test]
    fn a_story_has_what_people_ask_first() {
        let story = Story::of(&notification(Event::Closed));
        assert_eq!(story.headline, "[Closed] Checkout fails more often than usual");
        let facts: Vec<String> =
            story.facts.iter().map(|fact| format!("{}={}", fact.name, fact.value)).collect();
        assert_eq!(
            facts,
            [
                "Severity=High",
                "Started=2024-04-09 14:44:00 UTC",
                "Ended=2024-04-09 15:09:00 UTC",
                "Duration=25m",
                "Organisation=Example",
                "Labels=team:payments"
            ]
        );
        assert_eq!(
            story.body(&Plain, Room::characters(2000), true).lines().last(),
            Some("Roll back: https://bellwether.example/actions/action-1")
        );
        assert!(story.sections[0].lines[0].ends_with("score 0.97; closed, back in its band"));
    }

    #[test]
    fn the_nearest_events_are_told_and_the_rest_is_counted() {
        let mut told = notification(Event::Opened);
        let event = |title: String| UserEvent {
            title,
            description: String::new(),
            source: String::new(),
            category: String::new(),
            started: told.incident.started,
            ended: None,
        };
        told.incident.events = (1..=6).map(|number| event(format!("{number}{}", "x".repeat(200)))).collect();
        let facts = Story::of(&told).facts;
        let value = &facts.iter().find(|fact| fact.name == "Events").expect("it tells of events").value;
        assert!(value.starts_with("1x") && value.contains(", 4x") && !value.contains("5x"), "{value}");
        assert!(value.ends_with("(2024-04-09 14:44:00 UTC), 2 more"), "{value}");
    }

    #[test]
    fn a_body_fits_its_room_whatever_is_told_and_counts_what_it_leaves_out() {
        for (name, told) in extremes() {
            let story = Story::of(&told);
            for most in [200, 500, 3000, 20_000] {
                for room in [Room::characters(most), Room::utf16(most), Room::bytes(most)] {
                    let bodies = [
                        story.body(&Plain, room, true),
                        story.body(&Html, room, true),
                        story.body(&Mrkdwn, room, false),
                        story.body(&Markdown, room, true),
                    ];
                    for body in bodies {
                        assert!(room.holds(&body), "{name} in {room:?}: {}", room.taken(&body));
                        assert!(name != "huge" || body.contains("more series"), "{name} in {room:?}: {body}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut told = notification(Event::Opened);
        let alert = &mut told.incident.alerts[0];
        alert.series = vec![alert.series[0].clone(); 10];
        alert.left_out = 5;
        let story = Story::of(&told);
        let line = story.sections[0].lines[0].chars().count();
        let room =
            Room::characters(story.sections[0].title.len() + story.sections[0].description.len() + 3 * line);
        let (sections, missing) = story.sections_within(room, 0);
        assert_eq!((sections[0].lines.len(), missing, sections[0].left_out), (3, 12, 12));
        let (sections, missing) = story.sections_within(Room::characters(3), 0);
        assert_eq!((sections.len(), missing), (0, 15));
    }

    #[test]
    fn a_page_is_a_buttons_if_its_host_has_a_dot_or_is_an_address() {
        for url in
            ["https://a.example/", "http://10.0.0.5:8780", "http://[::1]:8780/a", "http://u@a.example?b"]
        {
            assert!(is_linkable(url), "{url}");
        }
        for url in ["http://localhost", "http://bellwether:8780/a.b", "http://u.v@host/", "http://host?a.b"] {
            assert!(!is_linkable(url), "{url}");
        }
    }

    #[test]
    fn a_page_no_channel_can_link_to_is_left_out() {
        let mut told = notification(Event::Opened);
        let link = |url: &str| Link { purpose: Purpose::Action, label: String::new(), url: url.to_owned() };
        let long = format!("https://a.example/{}", "a".repeat(2000));
        told.incident.links = [
            "javascript:alert(1)",
            "https://a.example/ b",
            "https://a.example/\">",
            &long,
            "https://a.example/",
            "https://a.example/",
        ]
        .map(link)
        .to_vec();
        let story = Story::of(&told);
        let links: Vec<&str> = story.links.iter().map(|link| link.url.as_str()).collect();
        assert_eq!(links, ["https://a.example/", "https://bellwether.example/actions/action-1"]);
        assert_eq!(story.links[0].label, "Action");
    }
}
