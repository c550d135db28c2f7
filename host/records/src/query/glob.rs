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
    /// With wildcards.
    Wild(Vec<Piece>),
}

impl Glob {
    pub(crate) fn of(pieces: Vec<Piece>) -> Self {
        let plain: Option<String> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Character(character) => Some(*character),
                Piece::One | Piece::Many => None,
            })
            .collect();
        plain.map_or(Self::Wild(pieces), Self::Plain)
    }

    /// The same in lower case.
    pub(crate) fn lower(self) -> Self {
        match self {
            Self::Plain(text) => Self::Plain(text.to_lowercase()),
            Self::Wild(pieces) => Self::Wild(
                pieces
                    .into_iter()
                    .flat_map(|piece| match piece {
                        Piece::Character(character) => {
                            character.to_lowercase().map(Piece::Character).collect()
                        }
                        other => vec![other],
                    })
                    .collect(),
            ),
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
        matches!(self, Self::Wild(pieces) if pieces.iter().all(|piece| *piece == Piece::Many))
    }

    /// Whether the whole text is meant. Takes the text's length times the pattern's at worst.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let pieces = match self {
            Self::Plain(plain) => return plain == text,
            Self::Wild(pieces) => pieces.as_slice(),
        };
        let (mut rest, mut at) = (text.chars(), 0);
        // Where to go on if what follows the last `*` does not fit: the star takes one more character.
        let mut star: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let here = rest.clone();
            let next = rest.next();
            match (pieces.get(at), next) {
                (Some(Piece::Many), _) => {
                    star = Some((at, here.clone()));
                    (rest, at) = (here, at + 1);
                }
                (Some(Piece::One), Some(_)) => at += 1,
                (Some(Piece::Character(wanted)), Some(found)) if *wanted == found => at += 1,
                (None, None) => return true,
                _ => {
                    let Some((place, from)) = &mut star else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    (rest, at) = (from.clone(), *place + 1);
                }
            }
        }
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
                    let within = begins && letter(text[..at].chars().next_back())
                        || ends && letter(text[at + phrase.len()..].chars().next());
                    if !within {
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
