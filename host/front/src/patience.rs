//! How long a request may take: as long as any other, and more where its handler says so, which alone knows what it was
//! asked to wait for.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use tokio::time::{Instant, sleep_until};

/// How long a request may take from its arrival on; in its extensions, shared by the envelope and the handler.
#[derive(Clone)]
pub(crate) struct Patience(Arc<AtomicU64>);

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(milliseconds(limit))))
    }

    /// Lets the request take that much longer.
    pub(crate) fn lengthen(&self, by: Duration) {
        self.0.fetch_add(milliseconds(by), Ordering::Relaxed);
    }

    /// Lets the request take as long as this, if that is longer.
    pub(crate) fn at_least(&self, limit: Duration) {
        self.0.fetch_max(milliseconds(limit), Ordering::Relaxed);
    }

    /// How long the request may take by now.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// Is over once a request that `arrived` then has taken too long.
    pub(crate) async fn over(&self, arrived: Instant) {
        let mut end = arrived + self.limit();
        loop {
            sleep_until(end).await;
            let lengthened = arrived + self.limit();
            if lengthened <= end {
                return;
            }
            end = lengthened;
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl<S: Sync> FromRequestParts<S> for Patience {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Without an envelope nothing ends a request.
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self::new(Duration::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_takes_as_long_as_its_handler_says_while_it_is_at_work() {
        let arrived = Instant::now();
        let patience = Patience::new(Duration::from_secs(30));
        let handler = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            patience.lengthen(Duration::from_secs(15));
            patience.at_least(Duration::from_secs(40));
        };
        tokio::join!(handler, patience.over(arrived));
        assert_eq!(arrived.elapsed(), Duration::from_secs(45));
    }
}
