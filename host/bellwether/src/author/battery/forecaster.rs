//! What is relied on in a forecaster.

use std::time::{Duration, Instant};

use bellwether_alerts::{Forecast, Forecaster, Past, RoleError, Settings, limits};
use bellwether_kernel::Timestamp;

use super::settings::{check_odd, made_up, read};
use super::{Battery, Bench, Seen, odd_series, stands, wave};

const OF: &str = "forecaster";

pub(super) async fn check(battery: &mut Battery, bench: &Bench<'_>) {
    let sandbox = match bench.sandbox().await {
        Ok(sandbox) => sandbox,
        Err(error) => return battery.tell(OF, "it can be called", Err(error)),
    };
    let Ok(forecaster) = sandbox.forecaster() else { return };
    let forecaster = &*forecaster;
    let description = forecaster.description();
    let given = made_up(&description.settings, bench.given);
    let settings = match read(&description.settings, &given) {
        Ok(settings) => settings,
        Err(error) => return battery.tell(OF, "it can be called", Err(error)),
    };
    let enough = (description.history.best as usize).clamp(600, limits::POINTS);
    let usual = Try { forecaster, settings: &settings, enough };
    let whole = match usual.predict(usual.past()).await {
        Ok(whole) => whole,
        Err(error @ RoleError::Invalid(_)) => {
            return battery.tell(OF, "it can be called", Err(format!("{error}; give it with --setting")));
        }
        Err(error) => return battery.tell(OF, "it can be called", Err(error.to_string())),
    };
    battery.tell(OF, "it predicts points", Ok(format!("{} from {enough}", whole.expected.len())));
    battery.tell(
        OF,
        "the same past gets the same answer, on whatever instance",
        usual.alike(bench, &whole).await,
    );
    battery.tell(OF, "a band that holds more is not narrower", usual.levels().await);
    battery.tell(OF, "too few points come to a clear error", usual.few().await);
    battery.tell(OF, "odd series come to a prediction or to a clear error", usual.odd_series().await);
    battery.tell(
        OF,
        "the longest past and the farthest horizon are answered in time and memory",
        usual.huge().await,
    );
    let call = async |settings: &Settings| forecaster.predict(settings, &usual.past()).await;
    check_odd(battery, OF, &description.settings, &given, &call).await;
}

struct Try<'a> {
    forecaster: &'a dyn Forecaster,
    settings: &'a Settings,
    /// Points with which it is at its best.
    enough: usize,
}

impl Try<'_> {
    fn past(&self) -> Past {
        Past {
            start: Timestamp::from_milliseconds(1_712_673_840_000).expect("an instant of 2024"),
            step: Duration::from_secs(60),
            values: wave(self.enough, 3),
            horizon: 60,
            level: 0.95,
        }
    }

    async fn predict(&self, past: Past) -> Result<Forecast, RoleError> {
        self.forecaster.predict(self.settings, &past).await
    }

    async fn alike(&self, bench: &Bench<'_>, whole: &Forecast) -> Seen {
        let other = Past { values: vec![5.0; self.enough], ..self.past() };
        stands("another past", self.predict(other).await)?;
        let again = self.predict(self.past()).await.map_err(|error| error.to_string())?;
        let sandbox = bench.sandbox().await?;
        let fresh = sandbox.forecaster().map_err(|error| super::plain(&error))?;
        let fresh = fresh.predict(self.settings, &self.past()).await.map_err(|error| error.to_string())?;
        for (when, found) in [("after another call", again), ("on another host", fresh)] {
            if format!("{found:?}") != format!("{whole:?}") {
                return Err(format!("{when} the answer is another"));
            }
        }
        Ok("3 times, byte by byte".to_owned())
    }

    async fn levels(&self) -> Seen {
        let mut before: Option<Forecast> = None;
        for level in [0.000_001, 0.5, 0.95, 0.999_999] {
            let past = Past { level, ..self.past() };
            let forecast = self.predict(past).await.map_err(|error| format!("level {level}: {error}"))?;
            let widths = |forecast: &Forecast| -> Vec<f64> {
                forecast.upper.iter().zip(&forecast.lower).map(|(upper, lower)| upper - lower).collect()
            };
            let narrower = before.as_ref().is_some_and(|before| {
                widths(before).iter().zip(widths(&forecast)).any(|(before, now)| now < before * (1.0 - 1e-9))
            });
            if narrower {
                return Err(format!("at level {level} a band is narrower than below it"));
            }
            before = Some(forecast);
        }
        Ok("4 levels".to_owned())
    }

    async fn few(&self) -> Seen {
        let mut said = Vec::new();
        for count in [0, 1, 2] {
            let past = Past { values: wave(count, 3), ..self.past() };
            let result = self.predict(past).await;
            let short = matches!(result, Err(RoleError::TooShort { .. }));
            if (count as u32) < self.forecaster.description().history.least && !short {
                let least = self.forecaster.description().history.least;
                return Err(format!(
                    "with {count} points it does not say that they are too few, but it wants {least}"
                ));
            }
            if stands(format!("{count} points"), result)?.is_some() {
                said.push(count);
            }
        }
        Ok(format!("0, 1 and 2; predicts from {said:?}"))
    }

    async fn odd_series(&self) -> Seen {
        let series = odd_series(self.enough);
        let count = series.len();
        for (name, values) in series {
            stands(name, self.predict(Past { values, ..self.past() }).await)?;
        }
        Ok(format!("{count} series"))
    }

    async fn huge(&self) -> Seen {
        let began = Instant::now();
        let past = Past { values: wave(limits::POINTS, 3), horizon: limits::HORIZON, ..self.past() };
        self.predict(past).await.map_err(|error| error.to_string())?;
        Ok(format!("{} from {} points in {:.0?}", limits::HORIZON, limits::POINTS, began.elapsed()))
    }
}
