//! The pure roles at real work, natively and in the sandbox: the bundled webhook formatter on a notification, the bundled
//! detector on 1,000 points. In the sandbox a call carries what it is given there and back; natively the author's
//! function is called on what is there already.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bellwether_alerts::{Detector, Event, Formatter, Notification, Points, Settings, Step};
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
    points: Points,
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
            points: Points {
                times: minutes.collect::<Option<_>>().context("minutes of 1970")?,
                step: Some(Duration::from_secs(60)),
                values: vec![(0..POINTS).map(|point| f64::from(point % 97)).collect()],
                learn: true,
            },
        })
    }

    /// One round of each.
    pub(crate) async fn round(&self, formatter: &mut Row, detector: &mut Row) -> Result<()> {
        let began = Instant::now();
        for _ in 0..CALLS {
            let step = self.formatter.next(&self.notification, &self.settings, b"", None).await?;
            ensure!(matches!(step, Step::Send { .. }), "it sends");
        }
        formatter.columns[BELLWETHER].push(each(began, CALLS));
        let exchange =
            Exchange::new(testing::notification(bellwether_sdk::formatter::Event::Opened), Vec::new());
        let began = Instant::now();
        for _ in 0..CALLS {
            let webhook: Webhook = testing::settings(&json!({ "url": URL }))?;
            let step = bellwether_plugin_webhook::next(black_box(&exchange), webhook);
            ensure!(black_box(step).is_ok(), "it sends");
        }
        formatter.columns[NATIVE].push(each(began, CALLS));

        let none = Settings::read(&self.detector.description().settings, &Map::new())?;
        let began = Instant::now();
        for _ in 0..CALLS {
            let detection = self.detector.detect(&none, b"", &self.points).await?;
            ensure!(detection.series[0].scores.len() == self.points.times.len(), "a score for each");
        }
        detector.columns[BELLWETHER].push(each(began, CALLS));
        let threshold: Threshold = testing::settings(&json!({}))?;
        let began = Instant::now();
        for _ in 0..CALLS {
            black_box(testing::detect(judge, &threshold, black_box(&self.points.values[0])));
        }
        detector.columns[NATIVE].push(each(began, CALLS));
        Ok(())
    }
}
