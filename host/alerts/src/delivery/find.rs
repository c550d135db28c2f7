//! Deliveries as they are found and read.

use bellwether_kernel::{Cursor, FieldError, OrganisationId, Page, PageRequest, Timestamp};
use bellwether_store::{Direction, Key, decode};

use super::record::DeliveryRow;
use super::{Attempt, Deliveries, Delivery, DeliveryHistory, DeliveryId, DeliveryState, keys};
use crate::AlertError;

/// Deliveries looked at for one page.
const LOOKED_AT: usize = 10_000;
/// Rows read at once.
const ROWS: usize = 256;

/// Which deliveries: those for which everything that is given holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// In this state.
    pub state: Option<DeliveryState>,
    /// To this channel.
    pub channel: Option<String>,
    /// Of this incident.
    pub incident: Option<String>,
    /// What they tell of came about at or after then.
    pub since: Option<Timestamp>,
    /// What they tell of came about before then.
    pub until: Option<Timestamp>,
}

impl DeliveryFilter {
    fn wants(&self, id: &DeliveryId) -> bool {
        self.channel.as_ref().is_none_or(|channel| *channel == id.channel)
            && self.incident.as_ref().is_none_or(|incident| *incident == id.incident)
    }
}

impl Deliveries {
    /// Deliveries, newest first. A page may hold fewer than asked for, even none, and still lead to a next one: one call
    /// looks at no more than 10,000.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] for a cursor of another list; the store's.
    pub async fn deliveries(
        &self,
        organisation: OrganisationId,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, AlertError> {
        let list = match filter.state {
            Some(DeliveryState::Dead) => keys::List::Dead,
            _ => keys::List::All,
        };
        let whole = keys::list(organisation, list).prefix();
        let mut range = whole.clone();
        if let Some(since) = filter.since {
            range.start = keys::since(organisation, list, since);
        }
        if let Some(until) = filter.until {
            range.end = keys::since(organisation, list, until);
        }
        if let Some(cursor) = &page.cursor {
            let end = Key::from_bytes(cursor.0.clone());
            if !whole.contains(&end) || keys::order_of(&end).is_err() {
                return Err(FieldError::wrong_cursor(cursor).into());
            }
            range.end = range.end.min(end);
        }
        let limit = page.limit.max(1);
        let (mut items, mut looked_at) = (Vec::new(), 0);
        while range.start < range.end {
            let rows = self.store.scan(range.clone(), Direction::Backward, ROWS).await?;
            let ended = rows.len() < ROWS;
            for (key, _) in rows {
                if items.len() == limit || looked_at == LOOKED_AT {
                    return Ok(Page { items, next: Some(Cursor(range.end.as_bytes().to_vec())) });
                }
                looked_at += 1;
                let id = keys::order_of(&key)?;
                range.end = key;
                if filter.wants(&id)
                    && let Some(row) = self.store.get(&keys::delivery(organisation, &id)).await?
                {
                    let delivery = decode::<DeliveryRow>(&row)?.delivery(id);
                    if filter.state.is_none_or(|state| state == delivery.state) {
                        items.push(delivery);
                    }
                }
            }
            if ended {
                break;
            }
        }
        Ok(Page { items, next: None })
    }

    /// A delivery, with what was tried.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; the store's.
    pub async fn delivery(
        &self,
        organisation: OrganisationId,
        id: &DeliveryId,
    ) -> Result<DeliveryHistory, AlertError> {
        let row = self.store.get(&keys::delivery(organisation, id)).await?.ok_or_else(|| unknown(id))?;
        let range = keys::attempts(organisation, id).prefix();
        let attempts = self.store.scan(range, Direction::Forward, ROWS).await?;
        let attempts = attempts.iter().map(|(_, row)| Attempt::decode(row)).collect::<Result<_, _>>()?;
        Ok(DeliveryHistory { delivery: decode::<DeliveryRow>(&row)?.delivery(id.clone()), attempts })
    }
}

pub(super) fn unknown(id: &DeliveryId) -> AlertError {
    AlertError::NotFound { what: "delivery", name: id.to_string() }
}
