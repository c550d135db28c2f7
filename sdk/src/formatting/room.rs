//! How much text there is room for, as a channel counts it.

/// At most so much text.
///
/// ```
/// use bellwether_sdk::formatting::Room;
///
/// assert_eq!(Room::characters(5).cut("llamas"), "llam…");
/// assert_eq!(Room::characters(6).cut("llamas"), "llamas");
/// assert_eq!(Room::bytes(6).cut("🦙🦙"), "…"); // 4 bytes each, and 3 of the ellipsis
/// assert_eq!(Room::utf16(3).cut("🦙🦙"), "🦙…"); // 2 units each, and 1
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    unit: Unit,
    most: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Characters,
    Utf16,
    Bytes,
}

const ELLIPSIS: char = '…';

impl Room {
    /// So many characters (Unicode scalar values).
    #[must_use]
    pub const fn characters(most: usize) -> Self {
        Self { unit: Unit::Characters, most }
    }

    /// So many units of UTF-16, as services in Java, JavaScript and C# count characters.
    #[must_use]
    pub const fn utf16(most: usize) -> Self {
        Self { unit: Unit::Utf16, most }
    }

    /// So many bytes of UTF-8.
    #[must_use]
    pub const fn bytes(most: usize) -> Self {
        Self { unit: Unit::Bytes, most }
    }

    /// How much there is at most.
    #[must_use]
    pub const fn most(self) -> usize {
        self.most
    }

    /// What is left beside so much.
    #[must_use]
    pub const fn beside(self, taken: usize) -> Self {
        Self { unit: self.unit, most: self.most.saturating_sub(taken) }
    }

    /// How much a text takes.
    #[must_use]
    pub fn taken(self, text: &str) -> usize {
        match self.unit {
            Unit::Characters => text.chars().count(),
            Unit::Utf16 => text.encode_utf16().count(),
            Unit::Bytes => text.len(),
        }
    }

    /// Whether a text fits.
    #[must_use]
    pub fn holds(self, text: &str) -> bool {
        self.taken(text) <= self.most
    }

    /// The text if it fits, else its beginning and an ellipsis; cut between characters, never within one.
    #[must_use]
    pub fn cut(self, text: &str) -> String {
        self.cut_as(text, str::to_owned)
    }

    /// The same of a text that is written by `write` and measured as written: escapes and marks stay whole.
    #[must_use]
    pub fn cut_as(self, text: &str, write: impl Fn(&str) -> String) -> String {
        let whole = write(text);
        if self.holds(&whole) {
            return whole;
        }
        let shortened = |end: usize| write(&format!("{}{ELLIPSIS}", text[..end].trim_end()));
        // Writing never takes less than the text, so more than this cannot fit.
        let ends: Vec<usize> = text.char_indices().map(|(index, _)| index).take(self.most + 1).collect();
        let fitting = ends.partition_point(|&end| self.holds(&shortened(end)));
        match fitting {
            0 => String::new(),
            fitting => shortened(ends[fitting - 1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_cut_fits_and_fills_its_room(text in "[a🦙é]{0,40}", most in 3_usize..40) {
            for room in [Room::characters(most), Room::utf16(most), Room::bytes(most)] {
                let cut = room.cut(&text);
                prop_assert!(room.holds(&cut));
                if room.holds(&text) {
                    prop_assert_eq!(cut, text.clone());
                } else {
                    // No character takes more than 4 of a unit.
                    prop_assert!(cut.ends_with(ELLIPSIS) && room.taken(&cut) + 4 > most);
                    prop_assert!(text.starts_with(cut.trim_end_matches(ELLIPSIS)));
                }
            }
        }
    }

    #[test]
    fn escapes_are_measured_as_they_are_written_and_never_cut() {
        let escaped = |text: &str| text.replace('&', "&amp;");
        assert_eq!(Room::characters(10).cut_as("&&", escaped), "&amp;&amp;");
        assert_eq!(Room::characters(10).cut_as("&&&", escaped), "&amp;…");
        assert_eq!(Room::characters(0).cut_as("&&&", escaped), "");
        assert_eq!(Room::bytes(2).cut("long"), "", "an ellipsis has three bytes");
    }
}
