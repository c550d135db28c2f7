//! The playbook app that feeds a custom metric: creates it where it is missing, adds one sample, gives back what the
//! sample's interval amounts to now.
//!
//! What a metric is was chosen when it was created. The inputs that say what it is (`data_type`, `interval`, `keyed`)
//! serve to create it; where one is given and the metric is another, nothing is written. With `read` it adds nothing
//! and gives back what an interval amounts to.

use bellwether_sdk::host::{Log, MetricsRead, MetricsWrite};
use bellwether_sdk::metrics::{
    DataType, Definition, Fill, Interval, IntervalQuery, Metric, MetricError, Samples,
};
use bellwether_sdk::{AppError, Inputs, Outputs, Timestamp, app};

/// What a playbook says.
#[derive(Clone, Debug, Inputs)]
pub struct Add {
    /// The metric's name, 1 to 200 characters.
    pub metric: String,
    /// The number to add. Only a metric of type count goes without: every call counts as one.
    pub value: Option<f64>,
    /// Which of a keyed metric's series to add to, 1 to 200 characters.
    pub key: Option<String>,
    /// When it happened, as ISO 8601 such as 2024-04-09T14:44:00Z; now, if absent.
    pub date: Option<Timestamp>,
    /// How much the value weighs in an average, above 0; 1, if absent.
    pub weight: Option<f64>,
    /// Whether to add nothing and only give back the value of the interval that holds `date`.
    #[input(default = false)]
    pub read: bool,
    /// Whether to create the metric if there is none of that name.
    #[input(default = true)]
    pub create: bool,
    /// How the values of one interval become one; sum, if the metric is created without it.
    pub data_type: Option<DataType>,
    /// How long one value gathers; daily, if the metric is created without it.
    pub interval: Option<Interval>,
    /// Whether each key has a series of its own; if the metric is created without it, it has where a key is given.
    pub keyed: Option<bool>,
    /// What the metric is for, at most 500 characters. Used when it is created.
    pub description: Option<String>,
}

/// What it amounted to.
#[derive(Clone, Debug, PartialEq, Outputs)]
pub struct Added {
    /// The metric's id.
    pub id: u64,
    /// The metric's name.
    pub metric: String,
    /// The key added to, if the metric is keyed.
    pub key: Option<String>,
    /// The value of the sample's interval, this sample included; or of the interval read.
    pub value: f64,
    /// When that interval begins, in UTC; of a series without any samples, the date that was read.
    pub interval_start: Timestamp,
    /// Whether this call created the metric.
    pub created: bool,
    /// How the metric's values of one interval become one.
    pub data_type: DataType,
    /// How long one value of the metric gathers.
    pub interval: Interval,
}

/// Adds to a custom metric, creating it where it is missing, and gives back its value.
#[app]
pub fn add(host: &(impl MetricsRead + MetricsWrite + Log), add: Add) -> Result<Added, AppError> {
    let (metric, created) = find_or_create(host, &add)?;
    check(&metric.definition, &add)?;
    if add.read {
        return read(host, &metric, add);
    }
    // By id: should the metric be deleted and made anew meanwhile, this must not reach the other one.
    let samples = Samples {
        metric: metric.id.into(),
        key: add.key.clone(),
        times: add.date.into_iter().collect(),
        values: add.value.into_iter().collect(),
        weights: add.weight.filter(|_| add.value.is_some()).into_iter().collect(),
    };
    let written = host.write_one(samples).map_err(|error| explained(error, &add))?;
    Ok(Added {
        id: metric.id,
        metric: metric.definition.name,
        key: add.key,
        value: written.value,
        interval_start: written.interval_start,
        created,
        data_type: metric.definition.data_type,
        interval: metric.definition.interval,
    })
}

/// Gives back what the interval of `date` amounts to.
fn read(host: &impl MetricsRead, metric: &Metric, add: Add) -> Result<Added, AppError> {
    let Definition { name, data_type, interval, .. } = &metric.definition;
    let date = add.date.ok_or_else(|| {
        AppError::fatal("date is missing: read needs a time in the interval that is wanted")
    })?;
    // Nothing added up is 0; the least, greatest, first, last or mean of nothing is not there.
    let adds_up = matches!(data_type, DataType::Sum | DataType::Count);
    let query = IntervalQuery::new(metric.id, date, date);
    let query = query.fill(if adds_up { Fill::Zero } else { Fill::Gaps });
    let query = match &add.key {
        Some(key) => query.keys([key]),
        None => query,
    };
    let series = host.query(&query).map_err(|error| explained(error, &add))?;
    let point = series.first().and_then(|series| series.points.first());
    let value = point.and_then(|point| point.value).or(adds_up.then_some(0.0)).ok_or_else(|| {
        AppError::fatal(format!("the metric {name:?} has no value in the {interval} interval of {date}"))
    })?;
    Ok(Added {
        id: metric.id,
        metric: name.clone(),
        key: add.key,
        value,
        interval_start: point.map_or(date, |point| point.start),
        created: false,
        data_type: *data_type,
        interval: *interval,
    })
}

fn find_or_create(
    host: &(impl MetricsRead + MetricsWrite + Log),
    add: &Add,
) -> Result<(Metric, bool), AppError> {
    match host.metric(add.metric.as_str()) {
        Err(MetricError::UnknownMetric(_)) if add.create && !add.read => {}
        Err(MetricError::UnknownMetric(_)) if add.read => {
            return Err(AppError::fatal(format!("there is no metric {:?} to read", add.metric)));
        }
        Err(MetricError::UnknownMetric(_)) => {
            let name = &add.metric;
            let message =
                format!("there is no metric {name:?}; create it, or let this app do so with create = true");
            return Err(AppError::fatal(message));
        }
        found => return Ok((found.map_err(|error| explained(error, add))?, false)),
    }
    let definition = Definition {
        name: add.metric.clone(),
        data_type: add.data_type.unwrap_or(DataType::Sum),
        interval: add.interval.unwrap_or(Interval::Daily),
        keyed: add.keyed.unwrap_or(add.key.is_some()),
        description: add.description.clone().filter(|description| !description.is_empty()),
    };
    // Before anything is made, so that a wrong call leaves no empty metric behind.
    check(&definition, add)?;
    match host.define(&definition) {
        Ok(defined) => {
            if defined.created {
                host.info(&format!(
                    "created the {} metric {:?} of type {}",
                    definition.interval, definition.name, definition.data_type
                ));
            }
            Ok((defined.metric, defined.created))
        }
        // Another call made it meanwhile, and not quite so: then that is what it is.
        Err(MetricError::Conflict(_)) => Ok((host.metric(add.metric.as_str())?, false)),
        Err(error) => Err(explained(error, add)),
    }
}

/// Whether what is to be added fits the metric, said in the words of this app's inputs.
fn check(definition: &Definition, add: &Add) -> Result<(), AppError> {
    let Definition { name, data_type, interval, keyed, .. } = definition;
    let differs = |input: &str, given: &dyn std::fmt::Display, is: &dyn std::fmt::Display| {
        Err(AppError::fatal(format!(
            "{input} is {given}, but the metric {name:?} has {is}; leave it out or match it"
        )))
    };
    match add {
        Add { data_type: Some(given), .. } if given != data_type => {
            return differs("data_type", given, data_type);
        }
        Add { interval: Some(given), .. } if given != interval => {
            return differs("interval", given, interval);
        }
        Add { keyed: Some(given), .. } if given != keyed => return differs("keyed", given, keyed),
        _ => {}
    }
    let wrong = |message: String| Err(AppError::fatal(message));
    match &add.key {
        None if *keyed => return wrong(format!("key is missing: the metric {name:?} is keyed")),
        Some(key) if !keyed => {
            return wrong(format!("key is {key:?}, but the metric {name:?} has no keys; leave it out"));
        }
        Some(key) if !(1..=200).contains(&key.chars().count()) => {
            return wrong(format!("key has {} characters, expected 1 to 200", key.chars().count()));
        }
        _ => {}
    }
    match add.value {
        Some(value) if add.read => {
            return wrong(format!("value is {value}, but read adds nothing; leave one of them out"));
        }
        None if add.read => {}
        None if *data_type != DataType::Count => {
            return wrong(format!("value is missing: the metric {name:?} is of type {data_type}"));
        }
        Some(value) if !value.is_finite() => {
            return wrong(format!("value is {value}, expected a finite number"));
        }
        _ => {}
    }
    match add.weight {
        Some(weight) if !(weight.is_finite() && weight > 0.0) => {
            wrong(format!("weight is {weight}, expected a finite number above 0"))
        }
        _ => Ok(()),
    }
}

fn explained(error: MetricError, add: &Add) -> AppError {
    match error {
        // It was there a moment ago: the next attempt finds or makes it.
        MetricError::UnknownMetric(_) => {
            AppError::fatal(format!("the metric {:?} was deleted meanwhile", add.metric)).retry()
        }
        error => AppError::from(error).context(format_args!("metric {:?}", add.metric)),
    }
}

#[cfg(test)]
mod tests;
