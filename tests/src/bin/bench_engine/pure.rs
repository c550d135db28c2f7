//! The pure roles at real work, natively and in the sandbox: the bundled webhook formatter on a notification, the bundled
//! detector on 1,000 points. In the sandbox a call carries what it is given there and back; natively the author's
//! function is called on what is there already. What the work alone costs in the sandbox is the difference to a call that
//! carries as much and does nothing with it: the answer to a formatter's request, which ends the exchange, and a
//! detector's call without points.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bellwether_alerts::{
    Answer, Detector, Event, Formatter, HttpAnswer, Notification, Points, Settings, Step,
};
use bellwether_kernel::Timestamp;
use bellwether_plugin_threshold::{Threshold, judge};
use bellwether_plugin_webhook::Webhook;
use bellwether_sdk::formatter::Exchange;
use bellwether_sdk::testing;
use serde_json::{Map, json};

use crate::calls::each;
use crate::house::House;
use crate::table::{BELLWETHER, NATIVE, Row};

const CALLS: u32 = 500;
const POINTS: u32 = 1_000;
const URL: &str = "https://alerts.example/incidents";

/// Both, installed.
pub(crate) struct Pure {
    formatter: Arc<dyn Formatter>,
    detector: Arc<dyn Detector>,
    settings: Settings,
    notification: Notification,
    answer: Answer,
    points: Points,
    no_points: Points,
}

/// What is measured of them.
pub(crate) struct PureRows {
    pub(crate) formatter: Row,
    pub(crate) answered: Row,
    pub(crate) detector: Row,
    pub(crate) pointless: Row,
}

impl PureRows {
    pub(crate) fn new() -> Self {
        Self {
            formatter: Row::new("a formatter on a notification, its first step"),
            answered: Row::new("… its second, which formats nothing"),
            detector: Row::new("a detector on 1,000 points"),
            pointless: Row::new("… on none"),
        }
    }

    /// How many times the native work that of the formatter is in the sandbox.
    pub(crate) fn formatter_of_native(&self) -> Option<f64> {
        work_of_native(&self.formatter, &self.answered)
    }

    /// How many times the native work that of the detector is in the sandbox.
    pub(crate) fn detector_of_native(&self) -> Option<f64> {
        work_of_native(&self.detector, &self.pointless)
    }
}

fn work_of_native(whole: &Row, idle: &Row) -> Option<f64> {
    let work = whole.columns[BELLWETHER].median()? - idle.columns[BELLWETHER].median()?;
    Some(work / whole.columns[NATIVE].median()?)
}

impl Pure {
    pub(crate) async fn install(house: &House) -> Result<Self> {
        let formatter = house.install_formatter("components/webhook.wasm").await?;
        let given = Map::from_iter([("url".to_owned(), json!(URL))]);
        let settings = Settings::read(&formatter.description().settings, &given)?;
        let minutes = (0..i64::from(POINTS)).map(|minute| Timestamp::from_milliseconds(minute * 60_000));
        Ok(Self {
            formatter,
            detector: house.install_detector("components/threshold.wasm").await?,
            settings,
            notification: Notification::sample(Event::Opened),
            answer: Answer::Http(HttpAnswer {
                status: 200,
                headers: Vec::new(),
                body: b"ok".to_vec(),
                retry_after: None,
            }),
            no_points: Points {
                times: Vec::new(),
                step: Some(Duration::from_secs(60)),
                values: vec![Vec::new()],
                learn: true,
            },
            points: Points {
                times: minutes.collect::<Option<_>>().context("minutes of 1970")?,
                step: Some(Duration::from_secs(60)),
                values: vec![(0..POINTS).map(|point| f64::from(point % 97)).collect()],
                learn: true,
            },
        })
    }

    /// One round of each.
    pub(crate) async fn round(&self, rows: &mut PureRows) -> Result<()> {
        for (row, last, sends) in
            [(&mut rows.formatter, None, true), (&mut rows.answered, Some(&self.answer), false)]
        {
            let began = Instant::now();
            for _ in 0..CALLS {
                let step = self.formatter.next(&self.notification, &self.settings, b"", last).await?;
                ensure!(
                    matches!(step, Step::Send { .. }) == sends,
                    "it sends, and is done when that is answered"
                );
            }
            row.columns[BELLWETHER].push(each(began, CALLS));
        }
        let exchange =
            Exchange::new(testing::notification(bellwether_sdk::formatter::Event::Opened), Vec::new());
        let settings = (0..CALLS).map(|_| testing::settings(&json!({ "url": URL })));
        let settings: Vec<Webhook> = settings.collect::<Result<_, _>>()?;
        let began = Instant::now();
        for webhook in settings {
            let step = bellwether_plugin_webhook::next(black_box(&exchange), webhook);
            ensure!(black_box(step).is_ok(), "it sends");
        }
        rows.formatter.columns[NATIVE].push(each(began, CALLS));

        let none = Settings::read(&self.detector.description().settings, &Map::new())?;
        for (row, points) in [(&mut rows.detector, &self.points), (&mut rows.pointless, &self.no_points)] {
            let began = Instant::now();
            for _ in 0..CALLS {
                let detection = self.detector.detect(&none, b"", points).await?;
                ensure!(detection.series[0].scores.len() == points.times.len(), "a score for each");
            }
            row.columns[BELLWETHER].push(each(began, CALLS));
        }
        let threshold: Threshold = testing::settings(&json!({}))?;
        let began = Instant::now();
        for _ in 0..CALLS {
            black_box(testing::detect(judge, &threshold, black_box(&self.points.values[0])));
        }
        rows.detector.columns[NATIVE].push(each(began, CALLS));
        Ok(())
    }
}
