//! `bellwether:host/records-write`: the caller's role must be write or above, and the grant covers events, logs or both.

use bellwether_access::Role;
use bellwether_records::{Content, RecordError as Refused};
use bellwether_store::Batch;

use super::effects::{Answer, Effect};
use super::records_convert::{content, kind, record_error};
use super::{Call, contract};
use contract::records_types::{RecordError, RecordKind};
use contract::records_write as wit;

impl wit::Host for Call {
    async fn append(&mut self, asked: RecordKind, contents: Vec<wit::Content>) -> Result<u64, RecordError> {
        self.takes(contents.iter().map(size).sum());
        let kind = kind(asked);
        let organisation = self.records_caller(Role::Write, kind).await?;
        let contents = contents.into_iter().enumerate().map(|(at, one)| content(at, one));
        let contents = contents.collect::<Result<Vec<Content>, _>>()?;
        let effect = self.effect_of_append(organisation, kind, &contents);
        if let Some(first) = self.appended_before(effect.as_ref()).await? {
            return Ok(first);
        }
        let records = &self.services().records;
        // The id is the host's to give: what is remembered of a step says that the append happened, and as which.
        let join = |first: u64| {
            effect.as_ref().map_or_else(Batch::new, |effect| effect.batch(Answer::Appended(first)))
        };
        match records.append_with(organisation, kind, contents, |first| join(first.0)).await {
            Ok(first) => {
                self.counted(effect.as_ref());
                Ok(first.0)
            }
            Err(Refused::Store(error)) if effect.as_ref().is_some_and(|effect| effect.happened(&error)) => {
                self.appended_before(effect.as_ref()).await?.ok_or_else(|| record_error(error.into()))
            }
            Err(error) => Err(record_error(error)),
        }
    }
}

impl Call {
    async fn appended_before(&mut self, effect: Option<&Effect>) -> Result<Option<u64>, RecordError> {
        match self.repeated(effect).await {
            Ok(Some(Answer::Appended(first))) => Ok(Some(first)),
            Ok(_) => Ok(None),
            Err(error) => Err(record_error(error.into())),
        }
    }
}

/// Bytes of a record as it was handed over.
fn size(content: &wit::Content) -> usize {
    let texts = [
        &content.title,
        &content.message,
        &content.status,
        &content.priority,
        &content.service,
        &content.source,
        &content.host,
        &content.aggregation_key,
        &content.attributes,
    ];
    let texts = texts.into_iter().chain(&content.tags);
    8 + texts.map(String::len).sum::<usize>()
}
