//! The words of events and logs in the contract's types and back, for both interfaces.

use bellwether_access::Role;
use bellwether_kernel::{FieldError, OrganisationId, Timestamp};
use bellwether_records::{Content, Record, RecordError, RecordKind};

use super::convert::{field_error, store_refused, time};
use super::{Call, Scope, contract};
use contract::records_types as wit;

impl wit::Host for Call {}

impl Call {
    /// The caller's organisation, if the caller may do what needs `role`, and the grant for that holds for `kind`.
    pub(super) async fn records_caller(
        &mut self,
        role: Role,
        kind: RecordKind,
    ) -> Result<OrganisationId, wit::RecordError> {
        let organisation = self.reach(role).await.map_err(wit::RecordError::Forbidden)?.organisation;
        let Scope { records_read, records_write, .. } = &*self.scope;
        if if role == Role::Read { records_read } else { records_write }.contains(&kind) {
            return Ok(organisation);
        }
        let refused = format!("the plugin's grant does not cover {}", kind.plural());
        Err(wit::RecordError::Forbidden(refused))
    }
}

pub(super) fn kind(kind: wit::RecordKind) -> RecordKind {
    match kind {
        wit::RecordKind::Event => RecordKind::Event,
        wit::RecordKind::Log => RecordKind::Log,
    }
}

pub(super) fn record_error(error: RecordError) -> wit::RecordError {
    let text = error.to_string();
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    match error {
        RecordError::Unknown { id, .. } => wit::RecordError::Unknown(id.0),
        RecordError::Invalid(field) => wit::RecordError::Invalid(field_error(field)),
        RecordError::Syntax { line, column, message } => {
            wit::RecordError::Syntax(wit::SyntaxError { line: number(line), column: number(column), message })
        }
        RecordError::Limit { .. } => wit::RecordError::Limit(text),
        RecordError::Store(error) => wit::RecordError::Unavailable(store_refused(&error)),
        _ => wit::RecordError::Other(text),
    }
}

/// An instant of the contract; `field` names the argument it came in.
pub(super) fn instant(
    milliseconds: i64,
    field: impl FnOnce() -> String,
) -> Result<Timestamp, wit::RecordError> {
    time(milliseconds, field).map_err(invalid)
}

pub(super) fn invalid(error: FieldError) -> wit::RecordError {
    wit::RecordError::Invalid(field_error(error))
}

/// What the `at`-th record says.
pub(super) fn content(at: usize, content: wit::Content) -> Result<Content, wit::RecordError> {
    let wit::Content {
        time,
        title,
        message,
        status,
        priority,
        service,
        source,
        host,
        aggregation_key,
        tags,
        attributes,
    } = content;
    let time = instant(time, || format!("records[{at}].time"))?;
    Ok(Content {
        time,
        title,
        message,
        status,
        priority,
        service,
        source,
        host,
        aggregation_key,
        tags,
        attributes,
    })
}

pub(super) fn stored(record: Record) -> wit::Stored {
    let Content {
        time,
        title,
        message,
        status,
        priority,
        service,
        source,
        host,
        aggregation_key,
        tags,
        attributes,
    } = record.content;
    let time = time.as_milliseconds();
    let content = wit::Content {
        time,
        title,
        message,
        status,
        priority,
        service,
        source,
        host,
        aggregation_key,
        tags,
        attributes,
    };
    wit::Stored { id: record.id.0, content }
}
