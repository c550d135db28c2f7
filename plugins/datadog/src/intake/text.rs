//! Names and tags as Datadog would take them, with as little done to them as the store and the query language need.

use std::borrow::Cow;

/// Bytes of a metric's name and of a tag; what is longer is cut.
const LONGEST: usize = 200;

/// A metric's name: it begins with a letter, and what no query could name is an underscore. `None` if nothing is left.
pub(super) fn metric(name: &str) -> Option<Cow<'_, str>> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/');
    let begins = |byte: u8| byte.is_ascii_alphabetic();
    if name.bytes().next().is_some_and(begins) && name.len() <= LONGEST && name.bytes().all(fits) {
        return Some(Cow::Borrowed(name));
    }
    let start = name.find(|first: char| first.is_ascii_alphabetic())?;
    let taken = name[start..].chars().take(LONGEST);
    Some(taken.map(|next| if u8::try_from(next).is_ok_and(fits) { next } else { '_' }).collect())
}

/// A tag, or what stands behind its colon: without spaces around it, without control characters. `None` if nothing is
/// left.
pub(crate) fn tag(text: &str) -> Option<Cow<'_, str>> {
    if !text.is_empty() && text.len() <= LONGEST && !text.starts_with(':') && graphic(text.as_bytes()) {
        return Some(Cow::Borrowed(text));
    }
    let text = text.trim().trim_start_matches(':').trim_start();
    let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end))?;
    let text = text[..end].trim_end();
    match text {
        "" => None,
        _ if text.contains(char::is_control) => Some(text.replace(char::is_control, "_").into()),
        _ => Some(Cow::Borrowed(text)),
    }
}

/// Whether every byte is `!` to `~`, eight at a time: most of what is read here are tags.
fn graphic(bytes: &[u8]) -> bool {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let (eights, rest) = bytes.as_chunks();
    let wrong = eights.iter().fold(0, |wrong, eight| {
        let eight = u64::from_ne_bytes(*eight);
        // The high bit of a byte below `!`, of one beyond ASCII, and of DEL.
        wrong | eight.wrapping_sub(EACH * 0x21) & !eight | eight | eight.wrapping_add(EACH)
    });
    wrong & (EACH << 7) == 0 && rest.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_changed_where_no_query_could_name_it() {
        for (sent, kept) in [
            ("system.load.1", Some("system.load.1")),
            ("a-b/c_d", Some("a-b/c_d")),
            ("1.load", Some("load")),
            ("_load", Some("load")),
            ("lo ad{x}", Some("lo_ad_x_")),
            ("größe", Some("gr__e")),
            ("", None),
            ("123", None),
        ] {
            assert_eq!(metric(sent).as_deref(), kept, "{sent:?}");
        }
        assert_eq!(metric(&"m".repeat(201)).unwrap().len(), 200);
    }

    #[test]
    fn eight_bytes_are_judged_as_each_is() {
        for at in 0..9 {
            for byte in 0..=255 {
                let mut bytes = *b"env:prod~";
                bytes[at] = byte;
                assert_eq!(graphic(&bytes), bytes.iter().all(u8::is_ascii_graphic), "{byte} at {at}");
            }
        }
    }

    #[test]
    fn a_tag_is_kept_as_it_is_but_for_what_is_no_tag() {
        for (sent, kept) in [
            ("env:prod", Some("env:prod")),
            ("Env:Prod", Some("Env:Prod")),
            (" env:prod\n", Some("env:prod")),
            ("a b:c", Some("a b:c")),
            (":prod", Some("prod")),
            ("a\u{1}b", Some("a_b")),
            ("größe:ä", Some("größe:ä")),
            ("", None),
            (" : ", None),
        ] {
            assert_eq!(tag(sent).as_deref(), kept, "{sent:?}");
        }
        assert_eq!(tag(&"ä".repeat(101)).unwrap().len(), 200);
        assert_eq!(tag(&format!("x{}", "ä".repeat(100))).unwrap().len(), 199);
    }
}
