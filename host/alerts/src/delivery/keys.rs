//! Under which keys channels and deliveries are kept.

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::{Key, Space, StoreError};

use super::DeliveryId;

pub(crate) fn channels(organisation: OrganisationId) -> Key {
    Key::new(Space::Channel).number(organisation.0)
}

pub(crate) fn channel(organisation: OrganisationId, name: &str) -> Key {
    channels(organisation).text(name)
}

/// Reads the name at the end of a key that begins with an organisation.
pub(crate) fn name_of(key: &Key) -> Result<String, StoreError> {
    let mut fields = key.fields();
    read(key, fields.number().and_then(|_| fields.text()))
}

/// What all channels of an incident are told at once: the owner of a large value.
pub(crate) fn telling(organisation: OrganisationId, incident: &str, sequence: u32) -> Key {
    Key::new(Space::Telling).number(organisation.0).text(incident).number(sequence.into())
}

fn place(space: Space, organisation: OrganisationId, id: &DeliveryId) -> Key {
    Key::new(space).number(organisation.0).text(&id.channel).text(&id.incident).number(id.sequence.into())
}

pub(crate) fn delivery(organisation: OrganisationId, id: &DeliveryId) -> Key {
    place(Space::Delivery, organisation, id)
}

/// The deliveries of one incident to one channel.
pub(crate) fn line(organisation: OrganisationId, channel: &str, incident: &str) -> Key {
    Key::new(Space::Delivery).number(organisation.0).text(channel).text(incident)
}

pub(crate) fn waiting(organisation: OrganisationId, id: &DeliveryId) -> Key {
    place(Space::DeliveryWaiting, organisation, id)
}

/// The deliveries of one incident to one channel that wait.
pub(crate) fn waiting_line(organisation: OrganisationId, channel: &str, incident: &str) -> Key {
    Key::new(Space::DeliveryWaiting).number(organisation.0).text(channel).text(incident)
}

pub(crate) fn all_waiting() -> Key {
    Key::new(Space::DeliveryWaiting)
}

pub(crate) fn attempts(organisation: OrganisationId, id: &DeliveryId) -> Key {
    place(Space::DeliveryAttempt, organisation, id)
}

pub(crate) fn attempt(organisation: OrganisationId, id: &DeliveryId, number: u32) -> Key {
    attempts(organisation, id).number(number.into())
}

pub(crate) fn memory(organisation: OrganisationId, channel: &str, incident: &str) -> Key {
    Key::new(Space::FormatterMemory).number(organisation.0).text(channel).text(incident)
}

/// A list of deliveries in the order they came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    All = 0,
    Dead = 1,
}

pub(crate) fn list(organisation: OrganisationId, list: List) -> Key {
    Key::new(Space::DeliveryOrder).number(organisation.0).fixed(&[list as u8])
}

pub(crate) fn since(organisation: OrganisationId, of: List, time: Timestamp) -> Key {
    list(organisation, of).signed(time.as_milliseconds())
}

pub(crate) fn order(organisation: OrganisationId, of: List, time: Timestamp, id: &DeliveryId) -> Key {
    since(organisation, of, time).text(&id.incident).number(id.sequence.into()).text(&id.channel)
}

/// Reads which delivery a row of a list is about.
pub(crate) fn order_of(key: &Key) -> Result<DeliveryId, StoreError> {
    let mut fields = key.fields();
    let found = fields.number().and_then(|_| fields.fixed(1)).and_then(|_| fields.signed()).and_then(|_| {
        let incident = fields.text()?;
        let sequence = u32::try_from(fields.number()?).ok()?;
        Some(DeliveryId { channel: fields.text()?, incident, sequence })
    });
    read(key, found)
}

pub(crate) fn all_ended() -> Key {
    Key::new(Space::DeliveryEnded)
}

pub(crate) fn ended(at: Timestamp, organisation: OrganisationId, id: &DeliveryId) -> Key {
    let key = all_ended().signed(at.as_milliseconds()).number(organisation.0);
    key.text(&id.channel).text(&id.incident).number(id.sequence.into())
}

/// Reads when which delivery ended.
pub(crate) fn ended_of(key: &Key) -> Result<(Timestamp, OrganisationId, DeliveryId), StoreError> {
    let mut fields = key.fields();
    let found = fields.signed().and_then(|at| {
        let at = Timestamp::from_milliseconds(at)?;
        let organisation = OrganisationId(fields.number()?);
        Some((at, organisation, id(&mut fields)?))
    });
    read(key, found)
}

/// Reads which delivery a key is about that begins with organisation, channel, incident and sequence.
pub(crate) fn delivery_of(key: &Key) -> Result<(OrganisationId, DeliveryId), StoreError> {
    let mut fields = key.fields();
    let found =
        fields.number().and_then(|organisation| Some((OrganisationId(organisation), id(&mut fields)?)));
    read(key, found)
}

fn id(fields: &mut bellwether_store::Fields<'_>) -> Option<DeliveryId> {
    let (channel, incident) = (fields.text()?, fields.text()?);
    Some(DeliveryId { channel, incident, sequence: u32::try_from(fields.number()?).ok()? })
}

fn read<T>(key: &Key, fields: Option<T>) -> Result<T, StoreError> {
    fields.ok_or_else(|| StoreError::Damaged(format!("{key:?} does not read")))
}
