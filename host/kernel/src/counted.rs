//! How many there are of something, in words for people.

use std::fmt::Display;

/// A count with what is counted: `1 playbook`, `2 playbooks`. What is counted is named in the singular, and has a plural
/// in s.
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_is_no_plural() {
        let told = [0, 1, 2, 11].map(|count: usize| counted(count, "run"));
        assert_eq!(told, ["0 runs", "1 run", "2 runs", "11 runs"]);
    }
}
