//! Counts visits by page: an app of playbooks.
//!
//! What `count` asks of its host (`MetricsWrite`, `Log`) becomes what the component imports, and that is its permission
//! request: whoever installs it grants each, with a scope, or does not install it.

use bellwether_sdk::host::{Log, MetricsWrite};
use bellwether_sdk::metrics::{DataType, Definition, Interval, Samples};
use bellwether_sdk::{AppError, Inputs, Outputs, app};

/// What a playbook says. A field's comment is the help its user reads.
#[derive(Debug, Inputs)]
pub struct Visit {
    /// Which page was visited.
    pub page: String,
    /// How many visits.
    #[input(default = 1)]
    pub times: u32,
}

/// What later steps of the playbook can use.
#[derive(Debug, PartialEq, Outputs)]
pub struct Counted {
    /// The page's visits today.
    pub total: f64,
}

/// Counts visits by page.
#[app]
pub fn count(host: &(impl MetricsWrite + Log), visit: Visit) -> Result<Counted, AppError> {
    if visit.page.is_empty() {
        return Err(AppError::fatal(
            "page is empty, expected a path such as /start",
        ));
    }
    host.define(&Definition::new("visits", DataType::Sum, Interval::Daily).keyed())?;
    let written = host.write_one(
        Samples::of("visits")
            .key(&visit.page)
            .value(visit.times.into()),
    )?;
    host.info(&format!(
        "{} has {} visits today",
        visit.page, written.value
    ));
    Ok(Counted {
        total: written.value,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bellwether_sdk::host::Level;
    use bellwether_sdk::serde_json::json;
    use bellwether_sdk::testing::{MemoryHost, inputs};

    use super::*;

    fn visit(page: &str) -> Visit {
        inputs(&json!({ "page": page })).expect("a page is all it takes")
    }

    #[test]
    fn visits_of_a_day_add_up_and_the_next_begins_anew() {
        let host = MemoryHost::new();
        assert_eq!(count(&host, visit("/start")), Ok(Counted { total: 1.0 }));
        assert_eq!(count(&host, visit("/start")), Ok(Counted { total: 2.0 }));
        host.assert_logged(Level::Info, "/start has 2 visits");
        host.advance(Duration::from_secs(24 * 60 * 60));
        assert_eq!(count(&host, visit("/start")), Ok(Counted { total: 1.0 }));
    }

    #[test]
    fn a_visit_to_no_page_counts_nothing() {
        let host = MemoryHost::new();
        let error = count(&host, visit("")).expect_err("there is no page");
        assert_eq!(
            error.message(),
            "page is empty, expected a path such as /start"
        );
        assert!(
            host.value("visits", Some("")).is_err(),
            "not even the metric was made"
        );
    }
}
