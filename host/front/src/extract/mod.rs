//! What handlers ask of a request: who calls with which role, a JSON body, a checked query, a path.

mod body;
mod caller;
mod instant;
mod moment;
mod page;
mod path;
mod query;
mod time;

pub(crate) use body::{Json, JsonOrNothing, content_type, read_body, read_body_of, read_json, require_json};
pub(crate) use caller::{
    Admin, AnyCaller, Authorised, CallerExt, OperatorOnly, OrOperator, Read, Write, bearer_of, enough,
    recognised,
};
pub(crate) use instant::{Instant, in_order};
pub(crate) use moment::Moment;
pub(crate) use page::{List, PageQuery, items};
pub(crate) use path::Path;
pub(crate) use query::{Force, Query};
pub(crate) use time::Time;
