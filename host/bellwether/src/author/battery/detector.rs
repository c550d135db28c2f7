//! What is relied on in a detector.

use std::time::{Duration, Instant};

use bellwether_alerts::{Detection, Detector, Points, RoleError, Settings, Takes, limits};

use super::settings::{check_odd, made_up, read};
use super::{Battery, Bench, Seen, odd_series, stands, wave};
use crate::author::role_cases::points_of;

const OF: &str = "detector";
const STEP: Duration = Duration::from_secs(60);

/// Points most checks are made with.
const POINTS: usize = 600;

pub(super) async fn check(battery: &mut Battery, bench: &Bench<'_>) {
    let sandbox = match bench.sandbox().await {
        Ok(sandbox) => sandbox,
        Err(error) => return battery.tell(OF, "it can be called", Err(error)),
    };
    let Ok(detector) = sandbox.detector() else { return };
    let detector = &*detector;
    let declared = &detector.description().settings;
    let given = made_up(declared, bench.given);
    let settings = match read(declared, &given) {
        Ok(settings) => settings,
        Err(error) => return battery.tell(OF, "it can be called", Err(error)),
    };
    let usual = Try { detector, settings: &settings };
    let whole = usual.detect(b"", &usual.points(POINTS)).await;
    let whole = match whole {
        Ok(whole) => whole,
        Err(error @ RoleError::Invalid(_)) => {
            return battery.tell(OF, "it can be called", Err(format!("{error}; give it with --setting")));
        }
        Err(error) => return battery.tell(OF, "it can be called", Err(error.to_string())),
    };
    battery.tell(OF, "it scores points", Ok(strangest(&whole)));
    battery.tell(
        OF,
        "the same points get the same answer, on whatever instance",
        usual.alike(bench, &whole).await,
    );
    battery.tell(OF, "scores do not depend on how points are cut into calls", usual.in_pieces(&whole).await);
    battery.tell(OF, "what it does not learn from changes nothing it knows", usual.unlearnt().await);
    battery.tell(OF, "no points, and one, are as good as many", usual.few().await);
    battery.tell(OF, "a point without a value is not strange", usual.missing().await);
    battery.tell(OF, "odd series come to scores or to a clear error", usual.odd_series().await);
    battery.tell(OF, "a state that is none is told from its own", usual.odd_states(&whole.state).await);
    battery.tell(OF, "as many points as a call may have are scored in time and memory", usual.huge().await);
    battery.tell(OF, "its state stays within its bounds", usual.state().await);
    let series = if detector.description().takes == Takes::OneSeries { 1 } else { 4 };
    let points = points_of(vec![wave(50, 1); series], STEP);
    let call = async |settings: &Settings| detector.detect(settings, b"", &points).await;
    check_odd(battery, OF, declared, &given, &call).await;
}

/// A detector with settings.
struct Try<'a> {
    detector: &'a dyn Detector,
    settings: &'a Settings,
}

impl Try<'_> {
    async fn detect(&self, state: &[u8], points: &Points) -> Result<Detection, RoleError> {
        self.detector.detect(self.settings, state, points).await
    }

    /// Series this detector takes at once.
    fn series(&self) -> usize {
        if self.detector.description().takes == Takes::OneSeries { 1 } else { 4 }
    }

    fn points(&self, points: usize) -> Points {
        points_of((0..self.series()).map(|seed| wave(points, seed as u64)).collect(), STEP)
    }

    /// The same series in every place.
    fn all(&self, values: &[f64]) -> Points {
        points_of(vec![values.to_vec(); self.series()], STEP)
    }

    /// Again on this host, after another call, and on a host of its own.
    async fn alike(&self, bench: &Bench<'_>, whole: &Detection) -> Seen {
        let points = self.points(POINTS);
        self.detect(b"", &self.all(&vec![7.0; 50])).await.map_err(|error| error.to_string())?;
        let again = self.detect(b"", &points).await.map_err(|error| error.to_string())?;
        differ("after another call", &again, whole)?;
        let sandbox = bench.sandbox().await?;
        let detector = sandbox.detector().map_err(|error| super::plain(&error))?;
        let fresh = detector.detect(self.settings, b"", &points).await.map_err(|error| error.to_string())?;
        differ("on another host", &fresh, whole)?;
        Ok("3 times, byte by byte".to_owned())
    }

    async fn in_pieces(&self, whole: &Detection) -> Seen {
        let points = self.points(POINTS);
        for size in [1, 7, 100] {
            let pieces = self.pieces(b"", &points, size).await?;
            let differs =
                pieces.iter().zip(&whole.series).enumerate().find_map(|(series, (scores, whole))| {
                    let at = scores
                        .iter()
                        .zip(&whole.scores)
                        .position(|(one, other)| one.to_bits() != other.to_bits());
                    at.map(|at| (series, at, scores[at], whole.scores[at]))
                });
            if let Some((series, at, found, whole)) = differs {
                return Err(format!(
                    "in calls of {size}, point {at} of series {series} scores {found}, in one call {whole}"
                ));
            }
        }
        Ok(format!("{POINTS} points in calls of 1, 7 and 100"))
    }

    /// The scores of calls of `size` points each.
    async fn pieces(&self, state: &[u8], points: &Points, size: usize) -> Result<Vec<Vec<f64>>, String> {
        let mut state = state.to_vec();
        let mut scores = vec![Vec::new(); points.values.len()];
        for start in (0..points.times.len()).step_by(size) {
            let end = (start + size).min(points.times.len());
            let piece = cut(points, start..end);
            let detection = self.detect(&state, &piece).await.map_err(|error| error.to_string())?;
            for (scores, found) in scores.iter_mut().zip(detection.series) {
                scores.extend(found.scores);
            }
            state = detection.state;
        }
        Ok(scores)
    }

    async fn unlearnt(&self) -> Seen {
        let points = self.points(POINTS);
        let (learn, rest) = (cut(&points, 0..400), cut(&points, 450..POINTS));
        let state = self.detect(b"", &learn).await.map_err(|error| error.to_string())?.state;
        let odd: Vec<f64> = (0..50).map(|at| f64::from(at) * 1e6).collect();
        let mut odd = points_of(vec![odd; self.series()], STEP);
        odd.times = points.times[400..450].to_vec();
        odd.learn = false;
        let after = self.detect(&state, &odd).await.map_err(|error| error.to_string())?.state;
        let with = self.detect(&after, &rest).await.map_err(|error| error.to_string())?;
        let without = self.detect(&state, &rest).await.map_err(|error| error.to_string())?;
        differ("after 50 points it was not to learn from", &scores_of(&with), &scores_of(&without))?;
        Ok("50 points".to_owned())
    }

    async fn few(&self) -> Seen {
        for count in [0, 1] {
            let detection = self.detect(b"", &self.points(count)).await;
            let detection = detection.map_err(|error| format!("{count} points: {error}"))?;
            let next = self.detect(&detection.state, &self.points(1)).await;
            next.map_err(|error| format!("after a call of {count} points: {error}"))?;
        }
        Ok("0 and 1".to_owned())
    }

    async fn missing(&self) -> Seen {
        let mut points = self.points(POINTS);
        for values in &mut points.values {
            values[300..320].fill(f64::NAN);
        }
        let detection = self.detect(b"", &points).await.map_err(|error| error.to_string())?;
        for (series, scores) in detection.series.iter().enumerate() {
            if let Some(at) = (300..320).find(|at| scores.scores[*at] != 0.0) {
                let score = scores.scores[at];
                return Err(format!(
                    "point {at} of series {series} has no value and the score {score}, expected 0"
                ));
            }
        }
        Ok("20 points".to_owned())
    }

    async fn odd_series(&self) -> Seen {
        let series = odd_series(400);
        let count = series.len();
        for (name, values) in series {
            stands(name, self.detect(b"", &self.all(&values)).await)?;
        }
        Ok(format!("{count} series"))
    }

    async fn odd_states(&self, own: &[u8]) -> Seen {
        let cut_off = own[..own.len() / 2].to_vec();
        let other: Vec<u8> = own.iter().map(|byte| byte ^ 0x55).collect();
        for (name, state) in [
            ("a state of another sort", b"{\"version\": 99}".to_vec()),
            ("a state cut off", cut_off),
            ("a state with every byte changed", other),
            ("16 KiB of 0xff", vec![0xff; limits::STATE]),
        ] {
            stands(name, self.detect(&state, &self.points(10)).await)?;
        }
        Ok("4 states".to_owned())
    }

    async fn huge(&self) -> Seen {
        let count = limits::POINTS / self.series();
        let points = self.points(count);
        let began = Instant::now();
        self.detect(b"", &points).await.map_err(|error| error.to_string())?;
        let took = began.elapsed();
        let rate = limits::POINTS as f64 / took.as_secs_f64() / 1e6;
        Ok(format!("{} points in {took:.0?}, {rate:.1} million a second", count * self.series()))
    }

    /// The state is held against its limit at every call.
    async fn state(&self) -> Seen {
        let mut state = Vec::new();
        let points = self.points(20_000);
        for start in (0..20_000).step_by(2_000) {
            let piece = cut(&points, start..start + 2_000);
            state = self.detect(&state, &piece).await.map_err(|error| error.to_string())?.state;
        }
        Ok(format!("{} bytes for {} series after 20000 points", state.len(), self.series()))
    }
}

fn cut(points: &Points, range: std::ops::Range<usize>) -> Points {
    Points {
        times: points.times[range.clone()].to_vec(),
        step: points.step,
        values: points.values.iter().map(|values| values[range.clone()].to_vec()).collect(),
        learn: points.learn,
    }
}

fn scores_of(detection: &Detection) -> Vec<&[f64]> {
    detection.series.iter().map(|series| series.scores.as_slice()).collect()
}

/// Whether two answers are the same to the last bit: numbers are written so that they tell each other apart.
fn differ<T: std::fmt::Debug>(when: &str, one: &T, other: &T) -> Result<(), String> {
    if format!("{one:?}") == format!("{other:?}") {
        Ok(())
    } else {
        Err(format!("{when} the answer is another"))
    }
}

/// The highest score of a detection, and where it is.
fn strangest(detection: &Detection) -> String {
    let scores = detection.series.iter().flat_map(|series| series.scores.iter().enumerate());
    match scores.max_by(|(_, one), (_, other)| one.total_cmp(other)) {
        Some((at, score)) => format!("{POINTS} points, at most {score:.2} at point {at}"),
        None => "no points".to_owned(),
    }
}
