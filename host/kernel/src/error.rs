//! The kinds of failure every crate's error can be asked for, so that each dialect maps them once.

/// What a caller can do about an error; one line of every error-to-response table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong; repeating it unchanged is useless.
    Invalid,
    /// Nobody, or nobody this host knows, is asking.
    Unauthenticated,
    /// The caller is known and may not do this.
    Forbidden,
    /// There is no such thing, or none the caller may see.
    NotFound,
    /// It clashes with what is already there.
    Conflict,
    /// The request is larger than a limit allows.
    TooLarge,
    /// The caller has used up its share for now.
    RateLimited,
    /// The host cannot do this now; later it may.
    Unavailable,
    /// It took longer than it was allowed to.
    Deadline,
    /// A plugin failed at its work.
    Plugin,
    /// A fault of the host itself.
    Internal,
}
