//! Request ids: one for every request, in its span, its answer and its problem.

use std::sync::atomic::{AtomicU64, Ordering};

use bellwether_kernel::Randomness;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Where it is answered, and read from trusted proxies.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over from a proxy.
const MAX_LENGTH: usize = 128;

/// Makes ids no other run of the host makes: 64 random bits of this run, then a count. Cheaper than a random id each.
pub(crate) struct RequestIds {
    run: String,
    count: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; 8];
        randomness.fill(&mut bytes);
        Self { run: data_encoding::HEXLOWER.encode(&bytes), count: AtomicU64::new(1) }
    }

    /// A fresh id.
    pub(crate) fn fresh(&self) -> HeaderValue {
        let id = format!("{}-{:x}", self.run, self.count.fetch_add(1, Ordering::Relaxed));
        HeaderValue::try_from(id).expect("hexadecimal digits and a dash are a header value")
    }

    /// The id a proxy gave, if it is sane: 1 to 128 of letters, digits and `-_.:/+=`.
    pub(crate) fn given(headers: &HeaderMap) -> Option<HeaderValue> {
        let given = headers.get(HEADER)?;
        let sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        let bytes = given.as_bytes();
        (1..=MAX_LENGTH).contains(&bytes.len()).then_some(())?;
        bytes.iter().all(sane).then(|| given.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwether_kernel::SeededRandomness;

    #[test]
    fn no_two_requests_share_an_id() {
        let ids = RequestIds::new(&SeededRandomness::new(1));
        assert_ne!(ids.fresh(), ids.fresh());
        assert_ne!(ids.fresh(), RequestIds::new(&SeededRandomness::new(2)).fresh());
    }

    #[test]
    fn only_a_sane_id_is_taken_over() {
        for (given, taken) in [
            ("a-1", true),
            ("0af7651916cd43dd8448eb211c80319c:1/2", true),
            ("", false),
            ("a b", false),
            ("<script>", false),
            ("\"", false),
        ] {
            let headers = HeaderMap::from_iter([(HEADER, HeaderValue::from_static(given))]);
            assert_eq!(RequestIds::given(&headers).is_some(), taken, "{given}");
        }
        let long = HeaderValue::try_from("a".repeat(129)).unwrap();
        assert!(RequestIds::given(&HeaderMap::from_iter([(HEADER, long)])).is_none());
    }
}
