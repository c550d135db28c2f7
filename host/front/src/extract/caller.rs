//! Who calls, and whether the role is enough: a handler names what it needs as an argument's type.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use bellwether_access::{AuthFailure, Caller, Operator, Principal, Role};
use bellwether_kernel::{KeyId, OrganisationId};
use http::request::Parts;
use http::{HeaderMap, header};

use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};

/// A role a handler needs.
pub(crate) trait Needed {
    /// The least role that is enough.
    const ROLE: Role;
}

/// Needs [`Role::Read`].
pub(crate) struct Read;
/// Needs [`Role::Write`].
pub(crate) struct Write;
/// Needs [`Role::Admin`].
pub(crate) struct Admin;

impl Needed for Read {
    const ROLE: Role = Role::Read;
}
impl Needed for Write {
    const ROLE: Role = Role::Write;
}
impl Needed for Admin {
    const ROLE: Role = Role::Admin;
}

/// A principal whose role is enough. The operator is refused: it sees no organisation's data.
pub(crate) struct Authorised<N>(pub(crate) Arc<Principal>, pub(crate) PhantomData<N>);

/// The host's operator.
pub(crate) struct OperatorOnly(pub(crate) Arc<Operator>);

/// The operator, or a principal whose role is enough.
pub(crate) struct OrOperator<N>(pub(crate) Caller, pub(crate) PhantomData<N>);

/// Anybody with a key.
pub(crate) struct AnyCaller(pub(crate) Caller);

/// What both kinds of caller have.
pub(crate) trait CallerExt {
    /// The key it came with.
    fn key(&self) -> &KeyId;
    /// The organisation it acts in; `None` for the operator.
    fn organisation(&self) -> Option<OrganisationId>;
}

impl CallerExt for Caller {
    fn key(&self) -> &KeyId {
        match self {
            Self::Operator(operator) => &operator.key,
            Self::Principal(principal) => &principal.key,
        }
    }

    fn organisation(&self) -> Option<OrganisationId> {
        match self {
            Self::Operator(_) => None,
            Self::Principal(principal) => Some(principal.organisation),
        }
    }
}

impl<N: Needed> FromRequestParts<Shared> for Authorised<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, Problem> {
        match authenticate(parts, services)? {
            Caller::Principal(principal) => {
                enough(&principal, N::ROLE).map(|()| Self(principal, PhantomData))
            }
            Caller::Operator(_) => Err(Problem::new(
                ProblemKind::Forbidden,
                "This belongs to an organisation; the operator's key sees none of it: use a key of the organisation",
            )),
        }
    }
}

impl FromRequestParts<Shared> for OperatorOnly {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, Problem> {
        match authenticate(parts, services)? {
            Caller::Operator(operator) => Ok(Self(operator)),
            Caller::Principal(_) => Err(Problem::new(
                ProblemKind::Forbidden,
                "Only the host's operator may do this: use an operator key",
            )),
        }
    }
}

impl<N: Needed> FromRequestParts<Shared> for OrOperator<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, Problem> {
        let caller = authenticate(parts, services)?;
        if let Caller::Principal(principal) = &caller {
            enough(principal, N::ROLE)?;
        }
        Ok(Self(caller, PhantomData))
    }
}

impl FromRequestParts<Shared> for AnyCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, Problem> {
        authenticate(parts, services).map(Self)
    }
}

/// Whether a principal's role is enough for what needs this one.
pub(crate) fn enough(principal: &Principal, needed: Role) -> Result<(), Problem> {
    if principal.role >= needed {
        return Ok(());
    }
    let (needs, has) = (needed.as_str(), principal.role.as_str());
    let detail = format!("This needs the role {needs}; this key has the role {has}");
    Err(Problem::new(ProblemKind::Forbidden, detail))
}

/// Who sent this request. Counts it against the key's share and names the key in the request's span.
pub(crate) fn authenticate(parts: &Parts, services: &Services) -> Result<Caller, Problem> {
    let caller = services.access().authenticate_token(bearer_of(&parts.headers)?)?;
    recognised(services, caller.key(), caller.organisation())?;
    Ok(caller)
}

/// Names the key in the request's span and counts the request against its share.
pub(crate) fn recognised(
    services: &Services,
    key: &KeyId,
    organisation: Option<OrganisationId>,
) -> Result<(), Problem> {
    let organisation = organisation.map(|organisation| organisation.0);
    // Both at once: each record writes the span's fields out anew.
    let span = tracing::Span::current();
    tracing::record_all!(span, key = key.as_str(), organisation = organisation);
    services.limits.count(key)
}

/// The token of `Authorization: Bearer <token>`.
pub(crate) fn bearer_of(headers: &HeaderMap) -> Result<&str, AuthFailure> {
    let value = headers.get(header::AUTHORIZATION).ok_or(AuthFailure::Missing)?;
    let malformed = || AuthFailure::Malformed("expected `Authorization: Bearer <token>`".to_owned());
    let (word, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    if word.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(malformed()) }
}
