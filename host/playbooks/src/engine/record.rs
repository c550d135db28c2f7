//! Results as they are recorded: masked first, then shortened, what was masked sealed beside it.

use bellwether_kernel::{OrganisationId, RunId};
use bellwether_store::{Batch, Key, StoreError, encode};
use serde_json::Value as Json;

use super::recall::{SECRETS, purpose};
use super::{Copied, runner::Work};
use crate::rows::{Part, Payload, Record};
use crate::secrets::Secrets;
use crate::template::Variables;
use crate::{LogLevel, LogLine, Playbooks, StepResult, StepState, rows};

/// Bytes kept of an error's text.
pub(super) const ERROR_BYTES: usize = 4 * 1024;
/// Bytes of records with which a commit of several is full: one more has at most twice
/// [`MAX_LARGE`](bellwether_store::MAX_LARGE), and with it they stay below [`MAX_BATCH`](bellwether_store::MAX_BATCH).
pub(super) const AT_ONCE: usize = 2 * 1024 * 1024;
/// Lines of log kept of one step.
const LOG_LINES: usize = 1_000;
/// Bytes of log kept of one step.
const LOG_BYTES: usize = 64 * 1024;
/// Bytes of a last line that is kept beyond these.
const NOTICE: usize = 256;

impl Playbooks {
    /// Adds a result to `batch`, secrets masked in it. Gives its outputs as they were.
    pub(super) fn write_result(
        &self,
        batch: &mut Batch,
        work: &Work,
        secrets: &mut Secrets,
        variables: &Variables,
        position: usize,
        result: &mut StepResult,
    ) -> Json {
        let (whole, masked) = mask(secrets, variables, result);
        let (organisation, run) = (work.organisation, work.id);
        let key = match result.item {
            None => rows::step(organisation, run, position),
            Some(item) => rows::item(organisation, run, position, item),
        };
        let item = result.item;
        let purpose = || purpose(organisation, run, position + 1, item);
        let mut own = Batch::new();
        let shown = serde_json::to_vec(result).expect("a step's result is plain data");
        let recorded = secrets.recorded();
        let written = self
            .write_record(&mut own, key.clone(), purpose, shown, masked.then_some(&whole))
            .and_then(|()| self.write_secrets(&mut own, organisation, run, secrets));
        if let Err(error) = written {
            // The limits on inputs and outputs keep below this, unless JSON must escape most of their text.
            own = Batch::new();
            secrets.unrecord(recorded);
            result.state = StepState::Failed;
            result.error = Some(format!("what it took and gave cannot be recorded: {error}"));
            result.inputs.clear();
            result.outputs.clear();
            let shown = serde_json::to_vec(result).expect("a step's result is plain data");
            self.write_record(&mut own, key, purpose, shown, None).expect("an error and a log are small");
        }
        batch.append(own);
        whole
    }

    /// Adds a record to `batch`; `whole` is what was masked in it, to be sealed for `purpose`.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] if it is more than the store keeps in one; `batch` is of no use then.
    pub(super) fn write_record(
        &self,
        batch: &mut Batch,
        key: Key,
        purpose: impl FnOnce() -> String,
        shown: Vec<u8>,
        whole: Option<&Json>,
    ) -> Result<(), StoreError> {
        let shown = Payload::write(batch, &key, Part::Shown, shown)?;
        let sealed = match whole {
            Some(whole) => {
                let sealed = self.access.seal(&purpose(), whole.to_string().as_bytes());
                Some(Payload::write(batch, &key, Part::Sealed, sealed.0)?)
            }
            None => None,
        };
        batch.put(key, encode(&Record { shown, sealed }));
        Ok(())
    }

    /// Adds to `batch` what is not recorded yet of the secrets a run knows of.
    ///
    /// # Errors
    /// As [`Self::write_record`].
    pub(super) fn write_secrets(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        run: RunId,
        secrets: &mut Secrets,
    ) -> Result<(), StoreError> {
        let purpose = || purpose(organisation, run, SECRETS, None);
        loop {
            let key = rows::secrets_from(organisation, run, secrets.recorded());
            let Some(new) = secrets.record() else { return Ok(()) };
            self.write_record(batch, key, purpose, b"null".to_vec(), Some(&new))?;
        }
    }

    /// Adds a result taken over from another run to `batch`.
    pub(super) fn write_copy(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        run: RunId,
        copied: &Copied,
    ) -> Result<(), StoreError> {
        let key = match copied.item {
            None => rows::step(organisation, run, copied.position),
            Some(item) => rows::item(organisation, run, copied.position, item),
        };
        let purpose = || purpose(organisation, run, copied.position + 1, copied.item);
        let shown = serde_json::to_vec(&copied.result).expect("a step's result is plain data");
        self.write_record(batch, key, purpose, shown, copied.whole.as_ref())
    }
}

/// Masks everything a result shows. Gives its outputs as they were, and whether anything of them was masked.
fn mask(secrets: &mut Secrets, variables: &Variables, result: &mut StepResult) -> (Json, bool) {
    let whole = Json::Object(std::mem::take(&mut result.outputs));
    let mut outputs = whole.clone();
    let masked = secrets.take(&format!("steps.{}", result.step), &mut outputs, variables);
    result.outputs = match outputs {
        Json::Object(outputs) => outputs,
        masked_whole => {
            let names = whole.as_object().into_iter().flat_map(serde_json::Map::keys);
            names.map(|name| (name.clone(), masked_whole.clone())).collect()
        }
    };
    let mut inputs = Json::Object(std::mem::take(&mut result.inputs));
    secrets.mask(&mut inputs);
    if let Json::Object(inputs) = inputs {
        result.inputs = inputs;
    }
    // Masked first: of a secret that is cut in two, nothing would be found.
    for error in result.error.iter_mut().chain(result.failed_attempts.iter_mut().map(|it| &mut it.error)) {
        secrets.mask_in(error);
        *error = shortened(std::mem::take(error), ERROR_BYTES);
    }
    for line in &mut result.log {
        secrets.mask_in(&mut line.message);
    }
    result.log = bounded(std::mem::take(&mut result.log));
    (whole, masked)
}

/// `text`, at most so many bytes of it.
pub(crate) fn shortened(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
    text
}

/// The first lines of a log, and how many more there were.
fn bounded(mut log: Vec<LogLine>) -> Vec<LogLine> {
    let mut bytes = 0;
    let kept = log.iter().take(LOG_LINES).take_while(|line| {
        bytes += line.message.len();
        bytes <= LOG_BYTES
    });
    let kept = kept.count();
    let dropped = log.len() - kept;
    // One short line more takes no more room than saying that it is missing; it is most often the plugin's host saying so.
    if dropped > 1 || log.get(kept).is_some_and(|line| line.message.len() > NOTICE) {
        let time = log[kept].time;
        log.truncate(kept);
        log.push(LogLine {
            time,
            level: LogLevel::Warn,
            message: format!("{dropped} more lines were not kept"),
        });
    }
    log
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::Timestamp;

    use super::*;

    fn log(lines: usize, last: &str) -> Vec<LogLine> {
        let line = |message: String| LogLine { time: Timestamp::default(), level: LogLevel::Info, message };
        (0..lines).map(|number| line(number.to_string())).chain([line(last.to_owned())]).collect()
    }

    #[test]
    fn a_log_too_long_ends_in_what_is_missing_of_it() {
        let last = |lines, last: &str| {
            let kept = bounded(log(lines, last));
            (kept.len(), kept.last().expect("there is a last one").message.clone())
        };
        assert_eq!(last(LOG_LINES - 1, "the end"), (LOG_LINES, "the end".to_owned()));
        assert_eq!(last(LOG_LINES, "the log is full"), (LOG_LINES + 1, "the log is full".to_owned()));
        assert_eq!(last(LOG_LINES + 1, "x"), (LOG_LINES + 1, "2 more lines were not kept".to_owned()));
        assert_eq!(
            last(LOG_LINES, &"x".repeat(300)),
            (LOG_LINES + 1, "1 more lines were not kept".to_owned())
        );
    }
}
