//! Alert triggers: what incidents do joins the commit that makes them do it, as a row that stays until the runs it causes
//! are recorded. Of each organisation that goes on by itself, so that none waits for another's conditions.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bellwether_alerts::{AlertError, IncidentId, Moved, Severity, Telling, Tellings};
use bellwether_kernel::{ErrorKind, OrganisationId, PlaybookId};
use bellwether_store::{
    Batch, Direction, Key, Precondition, Space, StoreError, Walk, decode, delete_large, encode, get_large,
    put_large,
};
use bytes::Bytes;
use serde::Deserialize as _;
use serde_json::Value as Json;
use tokio::task::JoinSet;

use super::context::holds;
use super::watching::matches;
use super::{AFTER_ERROR, Firing, outcome};
use crate::rows::{Follower, IncidentRow, StartedBy};
use crate::service::Loaded;
use crate::{PlaybookError, Playbooks, TriggerOn, rows, trigger};

/// Moves of one organisation that are read at once.
const MOVES: usize = 256;
/// How long nobody looks for moves if none is told of: another host may have died before it acted on its own.
const IDLE: Duration = Duration::from_secs(60);

/// A playbook that follows incidents, as it is kept in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Following {
    playbook: PlaybookId,
    version: u32,
}

/// What incidents do is kept while a playbook of their organisation follows them; nobody else is told anything.
impl Tellings for Playbooks {
    fn add(&self, _: &mut Batch, _: &Telling) -> Result<(), AlertError> {
        Ok(())
    }

    fn follows(&self, organisation: OrganisationId) -> bool {
        self.followers.read().contains_key(&organisation)
    }

    fn moved(&self, batch: &mut Batch, moved: &Moved) -> Result<(), AlertError> {
        let Moved { organisation, sequence, incident, .. } = moved;
        let IncidentId(id) = incident.id;
        let key = rows::incident_move(*organisation, id.as_bytes(), *sequence);
        put_large(batch, &key, trigger::alert::of(moved).to_string().as_bytes())?;
        batch.put(key, encode(&IncidentRow { incident: incident.id.to_string(), sequence: *sequence }));
        Ok(())
    }

    fn committed(&self) {
        self.moved.notify_one();
    }
}

impl Playbooks {
    /// Reads which playbooks follow incidents, of one organisation or of all.
    pub(super) async fn read_followers(&self, only: Option<OrganisationId>) -> Result<(), StoreError> {
        let found: Vec<_> = self.each_of::<Follower>(Space::PlaybookFollower, only).await?;
        let mut followers = self.followers.write();
        match only {
            Some(organisation) => drop(followers.remove(&organisation)),
            None => followers.clear(),
        }
        for (organisation, playbook, Follower { version }) in found {
            followers.entry(organisation).or_default().push(Following { playbook, version });
        }
        Ok(())
    }

    /// Acts on what incidents did, on that of each organisation beside the others', until something fails that concerns all:
    /// then it begins anew, and what a move has started it does not start again.
    pub(super) async fn keep_following(self: Arc<Self>) -> Result<(), PlaybookError> {
        let (mut at_work, mut busy) = (JoinSet::new(), HashSet::new());
        loop {
            for organisation in self.with_moves().await? {
                if busy.insert(organisation) {
                    at_work.spawn(Arc::clone(&self).follow(organisation));
                }
            }
            tokio::select! {
                biased;
                Some(ended) = at_work.join_next() => {
                    busy.remove(&outcome(ended)?);
                }
                () = self.moved.notified() => {}
                () = tokio::time::sleep(IDLE) => {}
            }
        }
    }

    /// The organisations of whose incidents some did what nobody has acted on.
    async fn with_moves(&self) -> Result<Vec<OrganisationId>, StoreError> {
        let mut moves = Walk::forward(&*self.store, rows::incident_moves().prefix()).at_once(1);
        let mut found = Vec::new();
        while let Some((key, row)) = moves.next().await? {
            match rows::organisation_of_move(&key) {
                Ok(organisation) => {
                    moves.skip_to(rows::moves_of(organisation).prefix().end);
                    found.push(organisation);
                }
                Err(damage) => self.remove_move(key, row, &damage).await?,
            }
        }
        Ok(found)
    }

    /// Acts on the first of what the incidents of an organisation did.
    ///
    /// # Errors
    /// Those that concern all; another holds up only what is behind it, and is tried again.
    async fn follow(self: Arc<Self>, organisation: OrganisationId) -> Result<OrganisationId, PlaybookError> {
        match self.act_on_some(organisation).await {
            Err(error) if !error.concerns_all() => {
                tracing::warn!(%organisation, %error, "what an incident did could not be acted on; it is tried again");
                tokio::time::sleep(AFTER_ERROR).await;
            }
            acted => acted?,
        }
        Ok(organisation)
    }

    async fn act_on_some(self: &Arc<Self>, organisation: OrganisationId) -> Result<(), PlaybookError> {
        let page = self.store.scan(rows::moves_of(organisation).prefix(), Direction::Forward, MOVES).await?;
        for (key, row) in page {
            match self.act_on(organisation, key.clone(), row.clone()).await {
                Err(PlaybookError::Store(damage @ StoreError::Damaged(_))) => {
                    self.remove_move(key, row, &damage).await?;
                }
                acted => acted?,
            }
        }
        Ok(())
    }

    /// Removes a move that does not read: it would not read the next time either, and those behind it would wait.
    async fn remove_move(&self, key: Key, row: Bytes, damage: &StoreError) -> Result<(), StoreError> {
        tracing::error!(error = %damage, "what an incident did does not read: it starts nothing and is removed");
        match self.store.commit(self.removal(key, row).await?).await {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            // If it is another row now, or none, somebody else removed it.
            _ => Ok(()),
        }
    }

    /// A batch that removes a move, unless somebody else did.
    async fn removal(&self, key: Key, row: Bytes) -> Result<Batch, StoreError> {
        let mut done = Batch::new();
        done.require(key.clone(), Precondition::ValueIs(row)).delete(key.clone());
        delete_large(&*self.store, &mut done, &key).await?;
        Ok(done)
    }

    /// Starts what a move causes. Its row goes with the last of that; a move somebody else acts on meanwhile is theirs.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] only if the move itself does not read.
    async fn act_on(
        self: &Arc<Self>,
        organisation: OrganisationId,
        key: Key,
        row: Bytes,
    ) -> Result<(), PlaybookError> {
        let IncidentRow { incident, sequence } = decode(&row)?;
        let damaged = |why: String| StoreError::Damaged(format!("what the incident {incident} did: {why}"));
        let Some(text) = get_large(&*self.store, &key).await? else {
            // The row goes with it: if that is gone too, somebody else acted on the move just now.
            return match self.store.get(&key).await? {
                Some(_) => Err(damaged("it is not there".to_owned()).into()),
                None => Ok(()),
            };
        };
        let trigger: Json = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        let done = self.removal(key.clone(), row).await?;
        let mut started = Vec::new();
        let following = self.followers.read().get(&organisation).cloned().unwrap_or_default();
        for Following { playbook, version } in following {
            if let Some(loaded) = self.load_to_start(organisation, playbook, version).await?
                && self.meets_move(&loaded, &trigger).await
            {
                started.push(loaded);
            }
        }
        let count = started.len();
        for (index, loaded) in started.into_iter().enumerate() {
            let name = format!("incident:{incident}:{sequence}");
            let by = StartedBy::Alert(incident.clone(), sequence);
            let mut firing = Firing::unasked(name, by, trigger.clone());
            // Those before the last are found claimed if this stops in between.
            if index + 1 == count {
                firing.with = done.clone();
            }
            match self.accept(organisation, Arc::clone(&loaded), firing).await {
                Ok(_) => self.is_started(organisation, &loaded),
                // A place was given up, or somebody else acted on it, at the same moment: it is looked at again.
                Err(PlaybookError::Store(StoreError::Conflict(_))) => return Ok(()),
                Err(error) if error.concerns_all() => return Err(error),
                Err(error) => self.was_refused(organisation, &loaded, &error),
            }
        }
        if self.store.get(&key).await?.is_none() {
            return Ok(());
        }
        // Nothing was caused, or the last was claimed or refused: the row goes by itself.
        match self.store.commit(done).await {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether every condition of an alert trigger holds for what an incident did.
    async fn meets_move(&self, loaded: &Arc<Loaded>, moved: &Json) -> bool {
        let document = &loaded.compiled.document;
        let TriggerOn::Alert { moves, monitor, labels, tags, severity, .. } = &document.trigger.on else {
            return false;
        };
        let text = |field: &str| moved[field].as_str().unwrap_or_default();
        let has = |field: &str, patterns: &std::collections::BTreeMap<String, String>| {
            let fits = |(name, pattern): (&String, &String)| {
                moved[field][name].as_str().is_some_and(|value| matches(pattern, value))
            };
            patterns.iter().all(fits)
        };
        if moves.iter().all(|wanted| wanted.as_str() != text("move"))
            || monitor.as_ref().is_some_and(|pattern| !matches(pattern, text("monitor")))
            || !has("labels", labels)
            || !has("tags", tags)
            || severity
                .is_some_and(|least| !Severity::deserialize(&moved["severity"]).is_ok_and(|it| it >= least))
        {
            return false;
        }
        loaded.compiled.when.is_none() || holds(loaded, moved, &self.conditions).await
    }
}
