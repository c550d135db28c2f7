//! An issue as Jira tells of it: its status, and where it can go from there.

use serde::Deserialize;

/// An issue with its status and its transitions.
#[derive(Debug, Deserialize)]
pub(crate) struct Looked {
    fields: Fields,
    #[serde(default)]
    transitions: Vec<Transition>,
}

#[derive(Debug, Deserialize)]
struct Fields {
    status: Status,
}

#[derive(Debug, Deserialize)]
struct Status {
    #[serde(rename = "statusCategory")]
    category: Category,
}

#[derive(Debug, Deserialize)]
struct Category {
    /// `new`, `indeterminate` or `done`, whatever the status is called.
    key: String,
}

#[derive(Debug, Deserialize)]
struct Transition {
    id: String,
    name: String,
    to: Status,
}

const DONE: &str = "done";

impl Looked {
    /// Whether its status is one of those that mean done.
    pub(crate) fn is_done(&self) -> bool {
        self.fields.status.category.key == DONE
    }

    /// The id of the transition of that name, or else of the first that leads to done, or away from it.
    pub(crate) fn transition(&self, to_done: bool, name: Option<&str>) -> Result<String, String> {
        let leads = |transition: &&Transition| match name {
            Some(name) => transition.name.eq_ignore_ascii_case(name),
            None => (transition.to.category.key == DONE) == to_done,
        };
        if let Some(found) = self.transitions.iter().find(leads) {
            return Ok(found.id.clone());
        }
        let names: Vec<&str> = self.transitions.iter().map(|transition| transition.name.as_str()).collect();
        let wanted = match name {
            Some(name) => format!("named {name:?}"),
            None if to_done => "to a status that is done".to_owned(),
            None => "to a status that is not done".to_owned(),
        };
        Err(format!("the issue has no transition {wanted}; it has {}", names.join(", ")))
    }
}
