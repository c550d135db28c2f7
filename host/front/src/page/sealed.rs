//! What only this host can read, until its time is over: a session in its cookie, a form that is kept in a page.

use bellwether_access::Sealed;
use bellwether_kernel::Timestamp;
use data_encoding::BASE64URL_NOPAD;

use crate::services::Services;

/// Seals a text for a purpose, until it `ends`.
pub(super) fn seal(services: &Services, purpose: &str, ends: Timestamp, text: &[u8]) -> String {
    let text = [format!("{ends} ").as_bytes(), text].concat();
    BASE64URL_NOPAD.encode(&services.access().seal(purpose, &text).0)
}

/// What was sealed, until when, and its text; nothing where it was not sealed here for this purpose, or its time is over.
pub(super) fn open(services: &Services, purpose: &str, sealed: &str) -> Option<(Sealed, Timestamp, Vec<u8>)> {
    let sealed = Sealed(BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?);
    let mut ends = services.access().unseal(purpose, &sealed).ok()?;
    let space = ends.iter().position(|byte| *byte == b' ')?;
    let text = ends.split_off(space + 1);
    let ends = Timestamp::parse(std::str::from_utf8(&ends[..space]).ok()?)?;
    (services.parts.clock.now() < ends).then_some((sealed, ends, text))
}
