//! Patterns over texts: `*` is any number of characters, `?` is one.

/// Part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Character(char),
    One,
    Many,
}

/// A pattern over a whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Glob {
    /// Exactly this.
    Plain(String),
    /// With wildcards: what stands between one `*` and the next, at least one run.
    Wild(Vec<Run>),
}

/// A part of a pattern without `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Exactly this.
    Text(String),
    /// Characters, `None` for any one.
    Marked(Vec<Option<char>>),
}

impl Run {
    fn of(pieces: &[Piece]) -> Self {
        let characters = pieces.iter().map(|piece| match piece {
            Piece::Character(character) => Some(*character),
            Piece::One | Piece::Many => None,
        });
        let text: Option<String> = characters.clone().collect();
        text.map_or_else(|| Self::Marked(characters.collect()), Self::Text)
    }

    fn lower(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.chars().flat_map(char::to_lowercase).collect()),
            Self::Marked(characters) => Self::Marked(
                characters
                    .into_iter()
                    .flat_map(|character| match character {
                        Some(character) => character.to_lowercase().map(Some).collect(),
                        None => vec![None],
                    })
                    .collect(),
            ),
        }
    }

    /// What is behind it, if a text begins with it.
    fn begins<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::Text(own) => text.strip_prefix(own.as_str()),
            Self::Marked(characters) => {
                let mut rest = text.chars();
                let fits = characters
                    .iter()
                    .all(|own| rest.next().is_some_and(|found| own.is_none_or(|own| own == found)));
                fits.then_some(rest.as_str())
            }
        }
    }

    /// Whether a text ends with it.
    fn ends(&self, text: &str) -> bool {
        match self {
            Self::Text(own) => text.ends_with(own.as_str()),
            Self::Marked(characters) => {
                let mut rest = text.chars().rev();
                characters
                    .iter()
                    .rev()
                    .all(|own| rest.next().is_some_and(|found| own.is_none_or(|own| own == found)))
            }
        }
    }

    /// What is behind the first place where it stands in a text. Takes the text's length, times its own for one with marks:
    /// which is why that is bounded.
    fn behind<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::Text(own) => text.find(own.as_str()).map(|at| &text[at + own.len()..]),
            Self::Marked(_) => text.char_indices().find_map(|(at, _)| self.begins(&text[at..])),
        }
    }
}

impl Glob {
    /// Characters that may stand between two `*` where there is a `?` among them.
    pub(crate) const MARKED: usize = 64;

    pub(crate) fn of(pieces: &[Piece]) -> Self {
        let mut runs: Vec<Run> = pieces.split(|piece| *piece == Piece::Many).map(Run::of).collect();
        match &mut runs[..] {
            [Run::Text(text)] => Self::Plain(std::mem::take(text)),
            _ => Self::Wild(runs),
        }
    }

    /// Whether it has more characters between two `*` than one that has a `?` among them may.
    pub(crate) fn is_too_long(pieces: &[Piece]) -> bool {
        let mut runs = pieces.split(|piece| *piece == Piece::Many);
        pieces.contains(&Piece::Many) && runs.any(|run| run.contains(&Piece::One) && run.len() > Self::MARKED)
    }

    /// The same in lower case.
    pub(crate) fn lower(self) -> Self {
        match self {
            Self::Plain(text) => Self::Plain(text.to_lowercase()),
            Self::Wild(runs) => Self::Wild(runs.into_iter().map(Run::lower).collect()),
        }
    }

    /// The text, if there is no wildcard.
    pub(crate) fn plain(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Wild(_) => None,
        }
    }

    /// Whether every text is meant.
    pub(crate) fn is_anything(&self) -> bool {
        let is_empty = |run: &Run| matches!(run, Run::Text(text) if text.is_empty());
        matches!(self, Self::Wild(runs) if runs.iter().all(is_empty))
    }

    /// Whether the whole text is meant. Takes time that grows with the text's length, and not with the pattern's.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let runs = match self {
            Self::Plain(plain) => return plain == text,
            Self::Wild(runs) => runs.as_slice(),
        };
        let Some((first, others)) = runs.split_first() else { return false };
        let Some(mut rest) = first.begins(text) else { return false };
        let Some((last, between)) = others.split_last() else { return rest.is_empty() };
        // The first place a run is found leaves the most for those behind it.
        for run in between {
            match run.behind(rest) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        last.ends(rest)
    }
}

/// What is looked for within a text, in lower case: whole words, or a pattern over one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// These words, with what stands between them, as they are.
    Phrase(String),
    /// One word.
    Word(Glob),
}

impl Text {
    /// A word or a phrase, with or without wildcards.
    pub(crate) fn of(glob: Glob) -> Self {
        match glob.lower() {
            Glob::Plain(text) => Self::Phrase(text),
            wild @ Glob::Wild(_) => Self::Word(wild),
        }
    }

    /// Whether it stands somewhere in a text that is in lower case.
    pub(crate) fn stands_in(&self, text: &str) -> bool {
        match self {
            Self::Phrase(phrase) if phrase.is_empty() => true,
            Self::Phrase(phrase) => {
                let letter = |end: Option<char>| end.is_some_and(char::is_alphanumeric);
                let (begins, ends) = (letter(phrase.chars().next()), letter(phrase.chars().next_back()));
                let step = phrase.chars().next().map_or(1, char::len_utf8);
                let mut from = 0;
                while let Some(found) = text[from..].find(phrase.as_str()) {
                    let at = from + found;
                    if begins && letter(text[..at].chars().next_back()) {
                        // Nor does it begin a word before this one ends.
                        let apart = |letter: char| !letter.is_alphanumeric();
                        from = text[at..].find(apart).map_or(text.len(), |length| at + length);
                        continue;
                    }
                    if !(ends && letter(text[at + phrase.len()..].chars().next())) {
                        return true;
                    }
                    from = at + step;
                }
                false
            }
            Self::Word(glob) if glob.is_anything() => true,
            // As it stands between spaces, without what punctuation is around it, and each of its parts.
            Self::Word(glob) => text.split_whitespace().any(|word| {
                let apart = |letter: char| !letter.is_alphanumeric();
                glob.matches(word)
                    || glob.matches(word.trim_matches(apart))
                    || word.split(apart).any(|part| !part.is_empty() && glob.matches(part))
            }),
        }
    }
}
