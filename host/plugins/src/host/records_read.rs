//! `bellwether:host/records-read`: every caller's role may read; the grant says whether events, logs or both.

use bellwether_access::Role;
use bellwether_kernel::RecordId;
use bellwether_records::{Order, Search, parse};

use super::convert::cursor;
use super::records_convert::{instant, invalid, kind, record_error, stored};
use super::{Call, contract};
use contract::records_read as wit;
use contract::records_types::{RecordError, RecordKind, Stored};

impl wit::Host for Call {
    async fn find(&mut self, search: wit::Search) -> Result<wit::Found, RecordError> {
        self.takes(search.query.len() + search.cursor.as_ref().map_or(0, String::len));
        let kind = kind(search.kind);
        let organisation = self.records_caller(Role::Read, kind).await?;
        let cursor = search.cursor.as_deref().map(cursor).transpose().map_err(invalid);
        let search = Search {
            kind,
            query: parse(&search.query).map_err(record_error)?,
            start: instant(search.start, || "start".to_owned())?,
            end: instant(search.end, || "end".to_owned())?,
            order: match search.order {
                wit::Order::Newest => Order::Newest,
                wit::Order::Oldest => Order::Oldest,
            },
            limit: search.limit as usize,
            cursor: cursor?,
        };
        let found = self.services().records.search(organisation, search).await.map_err(record_error)?;
        Ok(wit::Found {
            records: found.records.into_iter().map(stored).collect(),
            next: found.next.map(|cursor| cursor.to_string()),
            stopped_early: found.stopped_early,
        })
    }

    async fn get(&mut self, asked: RecordKind, id: u64) -> Result<Stored, RecordError> {
        let kind = kind(asked);
        let organisation = self.records_caller(Role::Read, kind).await?;
        let record = self.services().records.get(organisation, kind, RecordId(id)).await;
        record.map(stored).map_err(record_error)
    }
}
