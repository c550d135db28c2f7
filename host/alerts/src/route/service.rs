//! Rules and tables as they are put, read and asked.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bellwether_access::{Access, AuditScope, Principal};
use bellwether_kernel::{Clock, ErrorKind, FieldError, OrganisationId, Timestamp};
use bellwether_store::{
    Batch, Direction, Key, Precondition, SharedStore, Space, StoreError, Versioned, decode, delete_large,
    encode, get_large, put_large,
};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::table::Table;
use super::{Recipients, RouteMatch, RouteRules, Routed};
use crate::delivery::keys;
use crate::{AlertError, channel, limits};

/// How often a change is tried when another changes the same meanwhile.
const TRIES: usize = 16;

/// What is told of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTableRecord {
    /// Its name.
    pub name: String,
    /// Counts its changes, from 1.
    pub version: u32,
    /// The tag whose values its rows are for.
    pub tag: String,
    /// Different values it has channels for.
    pub rows: usize,
    /// When it was last put.
    pub updated: Timestamp,
    /// What it names and is not there, a sentence each.
    pub warnings: Vec<String>,
}

/// A table with what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTable {
    /// What is told of it.
    pub record: RouteTableRecord,
    /// Which incidents it is asked for.
    pub matches: RouteMatch,
    /// The CSV as it was put.
    pub csv: String,
}

/// What tells one version of a document from another; the document itself is a large value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    version: u32,
    updated: Timestamp,
}

impl Versioned for Head {
    const NAME: &'static str = "head of a routing document";
}

/// A table as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredTable {
    matches: RouteMatch,
    csv: String,
}

/// A document that was read, with the head it was read under.
enum Read {
    Rules(RouteRules),
    Table(RouteMatch, Table),
}

/// The routes of one organisation.
#[derive(Default)]
pub struct OrganisationRoutes {
    /// Its tables, and then its rules.
    documents: Vec<Arc<Read>>,
    /// The channels that are there; none where there are no documents.
    there: HashSet<String>,
}

impl OrganisationRoutes {
    /// Who is told of an incident that opens, each channel once: those of the tables that have a row for one of its series
    /// or, where none has, those its monitors name; and those of every rule that matches. A channel of a table or rule that
    /// is not there is passed over; where that leaves none of the tables', those its monitors name stay.
    #[must_use]
    pub fn recipients(&self, routed: &Routed<'_>) -> Recipients {
        let (mut by_table, mut by_rule) = (Vec::new(), Vec::new());
        for read in &self.documents {
            match &**read {
                Read::Table(matches, table) if matches.holds(routed) => {
                    by_table.extend(table.channels(routed.tags));
                }
                Read::Table(..) => {}
                Read::Rules(rules) => {
                    let matching = rules.rules.iter().filter(|rule| rule.matches.holds(routed));
                    by_rule.extend(matching.flat_map(|rule| &rule.channels));
                }
            }
        }
        let mut recipients = Recipients::default();
        let mut is_there = |name: &&String| {
            let there = self.there.contains(*name);
            if !there && !recipients.passed_over.contains(*name) {
                recipients.passed_over.push((*name).clone());
            }
            there
        };
        let was_in_table = !by_table.is_empty();
        by_table.retain(&mut is_there);
        by_rule.retain(&mut is_there);
        recipients.fell_back = was_in_table && by_table.is_empty();
        if by_table.is_empty() {
            by_table.extend(routed.own);
        }
        for name in by_table.into_iter().chain(by_rule) {
            if !recipients.channels.contains(name) {
                recipients.channels.push(name.clone());
            }
        }
        recipients.channels.truncate(limits::TELLING_CHANNELS);
        recipients
    }
}

type Cached = BTreeMap<Key, (Head, Arc<Read>)>;

/// The routes of every organisation.
pub struct Routes {
    pub(super) store: SharedStore,
    access: Arc<Access>,
    clock: Arc<dyn Clock>,
    read: Mutex<Cached>,
}

impl Routes {
    /// Routes on a store.
    #[must_use]
    pub fn new(store: SharedStore, access: Arc<Access>, clock: Arc<dyn Clock>) -> Self {
        Self { store, access, clock, read: Mutex::default() }
    }

    /// Those of one organisation, as they are now.
    ///
    /// # Errors
    /// The store's.
    pub async fn of(&self, organisation: OrganisationId) -> Result<OrganisationRoutes, AlertError> {
        let mut routes = OrganisationRoutes::default();
        let range = tables(organisation).prefix();
        for (key, head) in self.store.scan(range, Direction::Forward, limits::ROUTE_TABLES).await? {
            routes.documents.extend(self.document(&key, decode(&head)?).await?);
        }
        let key = rules(organisation);
        if let Some(head) = self.store.get(&key).await? {
            routes.documents.extend(self.document(&key, decode(&head)?).await?);
        }
        if !routes.documents.is_empty() {
            routes.there = self.channels_there(organisation).await?;
        }
        Ok(routes)
    }

    /// The names of an organisation's channels.
    async fn channels_there(&self, organisation: OrganisationId) -> Result<HashSet<String>, AlertError> {
        let range = keys::channels(organisation).prefix();
        let rows = self.store.scan(range, Direction::Forward, limits::CHANNELS).await?;
        Ok(rows.iter().map(|(key, _)| keys::name_of(key)).collect::<Result<_, _>>()?)
    }

    /// A document, read once for each of its versions; `None` if it went away meanwhile.
    async fn document(&self, key: &Key, head: Head) -> Result<Option<Arc<Read>>, AlertError> {
        if let Some((known, read)) = self.read.lock().get(key)
            && *known == head
        {
            return Ok(Some(Arc::clone(read)));
        }
        let Some(bytes) = get_large(&*self.store, key).await? else { return Ok(None) };
        let damaged = |error: String| StoreError::Damaged(format!("the routing document {key:?}: {error}"));
        let read = if key.as_bytes()[0] == Space::RouteRules as u8 {
            Read::Rules(serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?)
        } else {
            let stored: StoredTable =
                serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
            let table = Table::read(&stored.csv).map_err(|error| damaged(error.to_string()))?;
            Read::Table(stored.matches, table)
        };
        let read = Arc::new(read);
        let mut cached = self.read.lock();
        if cached.len() >= limits::ROUTES_IN_MEMORY {
            cached.pop_first();
        }
        cached.insert(key.clone(), (head, Arc::clone(&read)));
        Ok(Some(read))
    }

    /// What names a channel: `table countries` and `rules[2]`.
    ///
    /// # Errors
    /// The store's.
    pub async fn naming(
        &self,
        organisation: OrganisationId,
        channel: &str,
    ) -> Result<Vec<String>, AlertError> {
        let mut naming = Vec::new();
        let range = tables(organisation).prefix();
        for (key, head) in self.store.scan(range, Direction::Forward, limits::ROUTE_TABLES).await? {
            if let Some(Read::Table(_, table)) = self.document(&key, decode(&head)?).await?.as_deref()
                && table.names().contains(channel)
            {
                naming.push(format!("table {}", keys::name_of(&key)?));
            }
        }
        let (rules, _) = self.rules(organisation).await?;
        let places = rules.rules.iter().enumerate();
        let places = places.filter(|(_, rule)| rule.channels.iter().any(|name| name == channel));
        naming.extend(places.map(|(place, _)| format!("rules[{place}]")));
        Ok(naming)
    }

    /// The rules of an organisation and their version; 0 where none were ever put.
    ///
    /// # Errors
    /// The store's.
    pub async fn rules(&self, organisation: OrganisationId) -> Result<(RouteRules, u32), AlertError> {
        let key = rules(organisation);
        let Some(head) = self.store.get(&key).await? else { return Ok((RouteRules::default(), 0)) };
        let head: Head = decode(&head)?;
        match self.document(&key, head).await?.as_deref() {
            Some(Read::Rules(rules)) => Ok((rules.clone(), head.version)),
            _ => Ok((RouteRules::default(), head.version)),
        }
    }

    /// What rules name and is not there, a sentence each that begins with the rule's place.
    ///
    /// # Errors
    /// The store's.
    pub async fn rule_warnings(
        &self,
        organisation: OrganisationId,
        rules: &RouteRules,
    ) -> Result<Vec<String>, AlertError> {
        let there = self.channels_there(organisation).await?;
        let mut warnings = Vec::new();
        for (place, rule) in rules.rules.iter().enumerate() {
            let channels = rule.channels.iter().map(String::as_str).collect();
            let found = self.warnings(organisation, &there, channels, &rule.matches).await?;
            warnings.extend(found.into_iter().map(|warning| format!("rules[{place}]: {warning}")));
        }
        Ok(warnings)
    }

    /// Puts the rules of an organisation in the place of those it has. Their new version.
    ///
    /// # Errors
    /// [`AlertError::Invalid`]; [`AlertError::Conflict`] if they are not of version `expected`; the store's.
    pub async fn put_rules(
        &self,
        principal: &Principal,
        given: &RouteRules,
        expected: Option<u32>,
    ) -> Result<u32, AlertError> {
        given.check()?;
        let bytes = serde_json::to_vec(given).expect("rules are plain data");
        let key = rules(principal.organisation);
        let head = self.put(principal, &key, &bytes, expected, ("routes.update", "rules")).await?;
        Ok(head.version)
    }

    /// The tables of an organisation, ordered by name.
    ///
    /// # Errors
    /// The store's.
    pub async fn tables(&self, organisation: OrganisationId) -> Result<Vec<RouteTableRecord>, AlertError> {
        let there = self.channels_there(organisation).await?;
        let mut found = Vec::new();
        let range = tables(organisation).prefix();
        for (key, head) in self.store.scan(range, Direction::Forward, limits::ROUTE_TABLES).await? {
            let head: Head = decode(&head)?;
            if let Some(Read::Table(matches, table)) = self.document(&key, head).await?.as_deref() {
                let warnings = self.warnings(organisation, &there, table.names(), matches).await?;
                found.push(record(keys::name_of(&key)?, head, table, warnings));
            }
        }
        Ok(found)
    }

    /// A table.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; the store's.
    pub async fn table(&self, organisation: OrganisationId, name: &str) -> Result<RouteTable, AlertError> {
        let unknown = || AlertError::NotFound { what: "routing table", name: name.to_owned() };
        channel::check_name("name", name).map_err(|_| unknown())?;
        let key = table_key(organisation, name);
        let head: Head = decode(&self.store.get(&key).await?.ok_or_else(unknown)?)?;
        let bytes = get_large(&*self.store, &key).await?.ok_or_else(unknown)?;
        let damaged = |error: String| StoreError::Damaged(format!("the routing table {name}: {error}"));
        let stored: StoredTable =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let table = Table::read(&stored.csv).map_err(|error| damaged(error.to_string()))?;
        let there = self.channels_there(organisation).await?;
        let warnings = self.warnings(organisation, &there, table.names(), &stored.matches).await?;
        let record = record(name.to_owned(), head, &table, warnings);
        Ok(RouteTable { record, matches: stored.matches, csv: stored.csv })
    }

    /// Puts a table, or another in its place.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] names the line of the CSV that is wrong; [`AlertError::Conflict`] if it is not of version
    /// `expected`; the store's.
    pub async fn put_table(
        &self,
        principal: &Principal,
        name: &str,
        matches: RouteMatch,
        csv: &str,
        expected: Option<u32>,
    ) -> Result<RouteTableRecord, AlertError> {
        channel::check_name("name", name)?;
        if csv.len() > limits::ROUTE_TABLE {
            let expected = format!("at most {}", limits::ROUTE_TABLE);
            return Err(FieldError::new("csv", format!("{} bytes", csv.len()), expected).into());
        }
        let table = Table::read(csv).map_err(|error| {
            FieldError::new(
                "csv",
                error,
                "a line <tag>,channels and below it values and channels, as in de,ops;mail",
            )
        })?;
        let (organisation, key) = (principal.organisation, table_key(principal.organisation, name));
        let range = tables(organisation).prefix();
        let there = self.store.scan(range, Direction::Forward, limits::ROUTE_TABLES).await?;
        if there.len() >= limits::ROUTE_TABLES && there.iter().all(|(known, _)| *known != key) {
            let expected = format!("one of the {} there are, the most there may be", limits::ROUTE_TABLES);
            return Err(FieldError::new("name", name, expected).into());
        }
        let stored = StoredTable { matches, csv: csv.to_owned() };
        let bytes = serde_json::to_vec(&stored).expect("a table is plain data");
        let head = self.put(principal, &key, &bytes, expected, ("routes.table.put", name)).await?;
        let there = self.channels_there(organisation).await?;
        let warnings = self.warnings(organisation, &there, table.names(), &stored.matches).await?;
        Ok(record(name.to_owned(), head, &table, warnings))
    }

    /// Removes a table.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; the store's.
    pub async fn delete_table(&self, principal: &Principal, name: &str) -> Result<(), AlertError> {
        let unknown = || AlertError::NotFound { what: "routing table", name: name.to_owned() };
        channel::check_name("name", name).map_err(|_| unknown())?;
        let key = table_key(principal.organisation, name);
        for _ in 0..TRIES {
            let head = self.store.get(&key).await?.ok_or_else(unknown)?;
            let mut batch = Batch::new();
            delete_large(&*self.store, &mut batch, &key).await?;
            batch.require(key.clone(), Precondition::ValueIs(head)).delete(key.clone()).frees();
            if self.commit(principal, batch, ("routes.table.delete", name)).await? {
                self.read.lock().remove(&key);
                return Ok(());
            }
        }
        Err(AlertError::Conflict(format!("the table {name:?} is changed all the time; try again")))
    }

    async fn put(
        &self,
        principal: &Principal,
        key: &Key,
        bytes: &[u8],
        expected: Option<u32>,
        audit: (&str, &str),
    ) -> Result<Head, AlertError> {
        for _ in 0..TRIES {
            let before: Option<Bytes> = self.store.get(key).await?;
            let version =
                before.as_ref().map(|head| decode::<Head>(head)).transpose()?.map_or(0, |head| head.version);
            if expected.is_some_and(|expected| expected != version) {
                return Err(AlertError::Conflict(format!("it is of version {version} now: read it again")));
            }
            let head = Head { version: version + 1, updated: self.clock.now() };
            let mut batch = Batch::new();
            batch.require(key.clone(), before.map_or(Precondition::Absent, Precondition::ValueIs));
            batch.put(key.clone(), encode(&head));
            delete_large(&*self.store, &mut batch, key).await?;
            put_large(&mut batch, key, bytes)?;
            if self.commit(principal, batch, audit).await? {
                return Ok(head);
            }
        }
        Err(AlertError::Conflict("it is changed all the time; try again".to_owned()))
    }

    async fn commit(
        &self,
        principal: &Principal,
        mut batch: Batch,
        (action, target): (&str, &str),
    ) -> Result<bool, AlertError> {
        let scope = AuditScope::Organisation(principal.organisation);
        self.access.audit(&mut batch, scope, principal.key.as_str(), action, target, &[]);
        match self.store.commit(batch).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn record(name: String, head: Head, table: &Table, warnings: Vec<String>) -> RouteTableRecord {
    let Head { version, updated } = head;
    RouteTableRecord { name, version, tag: table.tag.clone(), rows: table.rows(), updated, warnings }
}

fn rules(organisation: OrganisationId) -> Key {
    Key::new(Space::RouteRules).number(organisation.0)
}

fn tables(organisation: OrganisationId) -> Key {
    Key::new(Space::RouteTable).number(organisation.0)
}

fn table_key(organisation: OrganisationId, name: &str) -> Key {
    tables(organisation).text(name)
}
