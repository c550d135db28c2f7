//! Channels as they are put, read, held back and removed.

use std::sync::Arc;

use bellwether_access::{AuditScope, Principal};
use bellwether_kernel::{Cursor, ErrorKind, FieldError, OrganisationId, Page, PageRequest};
use bellwether_store::{Batch, Direction, Precondition, StoreError, decode, encode};
use bytes::Bytes;

use super::{Channel, ChannelRow, ChannelSpec, ChannelState, check_name};
use crate::delivery::{Deliveries, keys};
use crate::sending::{Secrets, check_way, fill};
use crate::{
    AlertError, Event, Formatter, Notification, Outgoing, RoleError, RoleKind, Settings, Step, limits,
};

/// How often a change is tried when another changes the same channel meanwhile.
const TRIES: usize = 16;
/// Channels that are kept at hand, of all organisations.
const AT_HAND: usize = 1_000;

impl Deliveries {
    /// Makes a channel, or gives one that is there another specification. Whether it is new. `expected` is the version
    /// it must have, 0 for one that must not be there.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] for a field that is wrong, a formatter or a secret there is not, settings the formatter
    /// refuses, or hosts that its request or a secret in it may not go to; [`AlertError::Role`] if it does not answer;
    /// [`AlertError::Conflict`] if it has another version; the store's.
    pub async fn put_channel(
        &self,
        principal: &Principal,
        name: &str,
        spec: ChannelSpec,
        expected: Option<u32>,
    ) -> Result<(Channel, bool), AlertError> {
        check_name("name", name)?;
        let spec = self.checked(principal.organisation, spec).await?;
        let organisation = principal.organisation;
        for _ in 0..TRIES {
            let stored = self.stored_channel(organisation, name).await?;
            let version = stored.as_ref().map_or(0, |(channel, _)| channel.version);
            if expected.is_some_and(|expected| expected != version) {
                return Err(AlertError::Conflict(match version {
                    0 => format!("there is no channel {name:?}"),
                    _ => format!("the channel {name:?} is of version {version} now: read it again"),
                }));
            }
            if stored.is_none() && self.count_channels(organisation).await? >= limits::CHANNELS {
                let most = limits::CHANNELS;
                let expected = format!("one of the {most} there are: an organisation has at most {most}");
                return Err(FieldError::new("name", name, expected).into());
            }
            let now = self.clock.now();
            let channel = Channel {
                name: name.to_owned(),
                version: version + 1,
                spec: spec.clone(),
                state: stored.as_ref().map_or(ChannelState::Active, |(channel, _)| channel.state.clone()),
                created: stored.as_ref().map_or(now, |(channel, _)| channel.created),
                updated: now,
            };
            let action = if version == 0 { "channel.create" } else { "channel.update" };
            let before = stored.map(|(_, row)| row);
            if self.commit_channel(principal, &channel, before, action).await? {
                return Ok((channel, version == 0));
            }
        }
        Err(AlertError::Conflict(format!("the channel {name:?} is changed all the time; try again")))
    }

    /// A specification that can be a channel's, its hosts named.
    async fn checked(
        &self,
        organisation: OrganisationId,
        mut spec: ChannelSpec,
    ) -> Result<ChannelSpec, AlertError> {
        spec.check()?;
        let not_called = || self.roles.not_called(organisation, &spec.formatter, RoleKind::Formatter);
        let formatter = self.formatter(organisation, &spec.formatter);
        let formatter = formatter.ok_or_else(|| not_called().in_field("formatter"))?;
        let settings = Settings::read(&formatter.description().settings, &spec.settings)?;
        let secrets = self.secrets(organisation, &settings).await?;
        for (setting, (kept, secret)) in &secrets.0 {
            if secret.is_none() {
                let expected = "the name of a secret there is; put it first";
                return Err(FieldError::new(format!("settings.{setting}"), kept, expected).into());
            }
        }
        if spec.hosts.is_empty() {
            spec.hosts = ChannelSpec::hosts_of(&settings, &secrets);
        }
        self.ask(&*formatter, &spec, &settings, &secrets).await?;
        Ok(spec)
    }

    /// Asks a formatter for its first step, as if an incident opened: settings it would refuse then are refused now, and
    /// so is a request that would not go out. What it would send is not sent.
    async fn ask(
        &self,
        formatter: &dyn Formatter,
        spec: &ChannelSpec,
        settings: &Settings,
        secrets: &Secrets,
    ) -> Result<(), AlertError> {
        let (now, name) = (self.clock.now(), &spec.formatter);
        let expected = match self.first_step(formatter, settings).await {
            Ok(Step::Fail { reason } | Step::Gone { reason }) | Err(RoleError::Refused(reason)) => {
                format!("settings {name} can tell an incident with; it says: {reason}")
            }
            Ok(Step::Send { outgoing: Outgoing::Http(request), .. }) => {
                check_way(name, &request, secrets, &spec.hosts, now)?;
                match fill(&request, secrets, now) {
                    Ok(_) => return Ok(()),
                    Err(reason) => {
                        format!("settings of which {name} makes a request that can be sent: {reason}")
                    }
                }
            }
            Ok(Step::Send { .. } | Step::Done { .. } | Step::Retry { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let given = serde_json::Value::from(spec.settings.clone());
        Err(FieldError::new("settings", given, expected).into())
    }

    /// What a formatter would send first if an incident opened.
    pub(super) async fn first_step(
        &self,
        formatter: &dyn Formatter,
        settings: &Settings,
    ) -> Result<Step, RoleError> {
        let notification = Notification::sample_of(Event::Opened, self.clock.now());
        formatter.next(&notification, settings, &[], None).await
    }

    pub(crate) fn formatter(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn Formatter>> {
        self.roles.formatter(organisation, name)
    }

    /// A channel.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; the store's.
    pub async fn channel(&self, organisation: OrganisationId, name: &str) -> Result<Channel, AlertError> {
        let found = self.stored_channel(organisation, name).await?;
        found.map(|(channel, _)| channel).ok_or_else(|| unknown(name))
    }

    /// A channel with its row, if there is one.
    pub(crate) async fn stored_channel(
        &self,
        organisation: OrganisationId,
        name: &str,
    ) -> Result<Option<(Channel, Bytes)>, AlertError> {
        if check_name("name", name).is_err() {
            return Ok(None);
        }
        let Some(row) = self.store.get(&keys::channel(organisation, name)).await? else { return Ok(None) };
        Ok(Some((decode::<ChannelRow>(&row)?.channel(name)?, row)))
    }

    /// A channel, read anew where its row has changed.
    pub(crate) async fn channel_at_hand(
        &self,
        organisation: OrganisationId,
        name: &str,
    ) -> Result<Option<Arc<Channel>>, StoreError> {
        let Some(row) = self.store.get(&keys::channel(organisation, name)).await? else { return Ok(None) };
        let key = (organisation, name.to_owned());
        if let Some((known, channel)) = self.known_channels.lock().get(&key)
            && *known == row
        {
            return Ok(Some(Arc::clone(channel)));
        }
        let channel = Arc::new(decode::<ChannelRow>(&row)?.channel(name)?);
        let mut known = self.known_channels.lock();
        if known.len() >= AT_HAND {
            known.clear();
        }
        known.insert(key, (row, Arc::clone(&channel)));
        Ok(Some(channel))
    }

    /// The channels of an organisation, ordered by name.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] for a cursor of another list; the store's.
    pub async fn channels(
        &self,
        organisation: OrganisationId,
        page: &PageRequest,
    ) -> Result<Page<Channel>, AlertError> {
        let mut range = keys::channels(organisation).prefix();
        if let Some(cursor) = &page.cursor {
            let after = std::str::from_utf8(&cursor.0).ok().filter(|name| check_name("name", name).is_ok());
            let after = after.ok_or_else(|| FieldError::wrong_cursor(cursor))?;
            range.start = keys::channel(organisation, after).successor();
        }
        let limit = page.limit.clamp(1, limits::CHANNELS);
        let mut items: Vec<Channel> = Vec::new();
        for (key, row) in self.store.scan(range, Direction::Forward, limit + 1).await? {
            if items.len() == limit {
                let next = items.last().map(|last| Cursor(last.name.clone().into_bytes()));
                return Ok(Page { items, next });
            }
            items.push(decode::<ChannelRow>(&row)?.channel(&keys::name_of(&key)?)?);
        }
        Ok(Page { items, next: None })
    }

    async fn count_channels(&self, organisation: OrganisationId) -> Result<usize, AlertError> {
        let range = keys::channels(organisation).prefix();
        Ok(self.store.scan(range, Direction::Forward, limits::CHANNELS).await?.len())
    }

    /// Holds a channel back: what is to be delivered waits until it is resumed.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Invalid`] for a reason that is too long; the store's.
    pub async fn pause_channel(
        &self,
        principal: &Principal,
        name: &str,
        reason: &str,
    ) -> Result<Channel, AlertError> {
        if reason.len() > limits::REASON {
            let expected = format!("at most {} bytes", limits::REASON);
            return Err(FieldError::new("reason", reason, expected).into());
        }
        let (since, reason) = (self.clock.now(), reason.to_owned());
        self.set_state(principal, name, ChannelState::Paused { since, reason }, "channel.pause").await
    }

    /// Lets a channel be told again that was paused, or said that it is no more.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; the store's.
    pub async fn resume_channel(&self, principal: &Principal, name: &str) -> Result<Channel, AlertError> {
        self.set_state(principal, name, ChannelState::Active, "channel.resume").await
    }

    async fn set_state(
        &self,
        principal: &Principal,
        name: &str,
        state: ChannelState,
        action: &str,
    ) -> Result<Channel, AlertError> {
        for _ in 0..TRIES {
            let (mut channel, row) =
                self.stored_channel(principal.organisation, name).await?.ok_or_else(|| unknown(name))?;
            (channel.state, channel.updated) = (state.clone(), self.clock.now());
            channel.version += 1;
            if self.commit_channel(principal, &channel, Some(row), action).await? {
                return Ok(channel);
            }
        }
        Err(AlertError::Conflict(format!("the channel {name:?} is changed all the time; try again")))
    }

    /// Writes that a channel said it is no more into a batch, unless that is known.
    pub(crate) fn disable(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        (channel, row): &(Channel, Bytes),
        reason: &str,
    ) {
        if channel.state != ChannelState::Active {
            return;
        }
        let mut channel = channel.clone();
        let now = self.clock.now();
        channel.state = ChannelState::Disabled { since: now, reason: reason.to_owned() };
        (channel.version, channel.updated) = (channel.version + 1, now);
        let key = keys::channel(organisation, &channel.name);
        batch.require(key.clone(), Precondition::ValueIs(row.clone()));
        batch.put(key, encode(&ChannelRow::of(&channel)));
        let scope = AuditScope::Organisation(organisation);
        let details = [("reason", reason.to_owned())];
        self.access.audit(batch, scope, "host", "channel.disable", &channel.name, &details);
    }

    /// Commits a channel; `false` if somebody else changed it meanwhile.
    async fn commit_channel(
        &self,
        principal: &Principal,
        channel: &Channel,
        before: Option<Bytes>,
        action: &str,
    ) -> Result<bool, AlertError> {
        let key = keys::channel(principal.organisation, &channel.name);
        let mut batch = Batch::new();
        batch.require(key.clone(), before.map_or(Precondition::Absent, Precondition::ValueIs));
        batch.put(key, encode(&ChannelRow::of(channel)));
        let details = [
            ("version", channel.version.to_string()),
            ("formatter", channel.spec.formatter.clone()),
            ("hosts", channel.spec.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        ];
        self.commit_change(principal, batch, &channel.name, action, &details).await
    }

    /// Removes a channel; with `force` whoever names it. What is still to be delivered to it, and what it would be told
    /// from then on, becomes dead letters that say so.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Conflict`] that names the monitors and routes it is named by, unless it is
    /// forced; the store's.
    pub async fn delete_channel(
        &self,
        principal: &Principal,
        name: &str,
        force: bool,
    ) -> Result<(), AlertError> {
        for _ in 0..TRIES {
            let organisation = principal.organisation;
            let (_, row) = self.stored_channel(organisation, name).await?.ok_or_else(|| unknown(name))?;
            if !force {
                let users = self.users(organisation, name).await?;
                if !users.is_empty() {
                    let text = format!(
                        "the channel {name:?} is named by {users}: what they tell it would be dead letters; change \
                         them first, or force it"
                    );
                    return Err(AlertError::Conflict(text));
                }
            }
            let key = keys::channel(organisation, name);
            let mut batch = Batch::new();
            batch.require(key.clone(), Precondition::ValueIs(row)).delete(key).frees();
            if self.commit_change(principal, batch, name, "channel.delete", &[]).await? {
                self.forget_channel(organisation, name);
                return Ok(());
            }
        }
        Err(AlertError::Conflict(format!("the channel {name:?} is changed all the time; try again")))
    }

    async fn commit_change(
        &self,
        principal: &Principal,
        mut batch: Batch,
        name: &str,
        action: &str,
        details: &[(&str, String)],
    ) -> Result<bool, AlertError> {
        let scope = AuditScope::Organisation(principal.organisation);
        self.access.audit(&mut batch, scope, principal.key.as_str(), action, name, details);
        match self.store.commit(batch).await {
            Ok(_) => {
                self.channel_changed(principal.organisation, name);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn unknown(name: &str) -> AlertError {
    AlertError::NotFound { what: "channel", name: name.to_owned() }
}
