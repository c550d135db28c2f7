//! Work that is not given up half done.

use std::pin::pin;
use std::task::Poll;

use tracing::Instrument;

use crate::StoreError;

/// Does `work` in a task of its own, so that what it committed is applied in memory too even if whoever wants it stops
/// waiting in between: a call that ran out of time, a request whose client hung up.
///
/// # Errors
/// Those of `work`; [`StoreError::Unavailable`] if the host stops meanwhile.
///
/// # Panics
/// If `work` does.
pub async fn to_the_end<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    match tokio::spawn(work.in_current_span()).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Unavailable("the host is stopping").into()),
        },
    }
}

/// Polls `work` so many times and then stops waiting for it, as whoever calls something may at any moment; tells whether it
/// had ended. For tests.
#[doc(hidden)]
pub async fn given_up(work: impl Future, polls: usize) -> bool {
    let (mut work, mut left) = (pin!(work), polls);
    std::future::poll_fn(|context| {
        left = left.saturating_sub(1);
        match work.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
