//! What a step's templates read, and the rendering of them.

use std::sync::{Arc, OnceLock};

use serde_json::Value as Json;
use tokio::sync::Semaphore;

use super::recall::Recalled;
use super::runner::Work;
use crate::compile::{Compiled, CompiledInput, CompiledStep};
use crate::secrets::{MASK, Secrets};
use crate::service::Loaded;
use crate::template::{CONDITION, Names, RenderError, Room, follow, from_json, is_true};
use crate::{Input, Playbooks, Value, convert};

use super::record::shortened;

/// Bytes of a value an error shows.
const VALUE_BYTES: usize = 100;

/// One item of a step's list: which, and what it is.
pub(super) type Item<'a> = Option<(u32, &'a Json)>;

/// A value that templates read.
pub(super) struct Known {
    pub(super) json: Json,
    rendered: OnceLock<minijinja::Value>,
}

impl Known {
    pub(super) fn new(json: Json) -> Self {
        Self { json, rendered: OnceLock::new() }
    }

    /// As the template engine reads it; made when it is first asked for.
    fn rendered(&self) -> minijinja::Value {
        self.rendered.get_or_init(|| from_json(&self.json)).clone()
    }
}

/// What the templates of a step read.
pub(super) struct Context<'a> {
    work: &'a Work,
    recalled: &'a Recalled,
    /// `None` behind the last step.
    step: Option<&'a CompiledStep>,
    item: Item<'a>,
    rendered: OnceLock<minijinja::Value>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        work: &'a Work,
        recalled: &'a Recalled,
        step: &'a CompiledStep,
        item: Item<'a>,
    ) -> Self {
        Self { work, recalled, step: Some(step), item, rendered: OnceLock::new() }
    }

    /// What the playbook's outputs read.
    pub(super) fn of_outputs(work: &'a Work, recalled: &'a Recalled) -> Self {
        Self { work, recalled, step: None, item: None, rendered: OnceLock::new() }
    }

    fn render(&self) -> minijinja::Value {
        let (row, recalled) = (&self.work.row, self.recalled);
        let mut steps: Vec<(String, minijinja::Value)> =
            recalled.outputs.iter().map(|(id, outputs)| (id.clone(), outputs.rendered())).collect();
        let mut run: Vec<(&str, minijinja::Value)> = vec![
            ("id", self.work.id.to_string().into()),
            ("created", row.created.to_string().into()),
            ("attempt", row.attempt.into()),
        ];
        if self.step.is_some_and(|step| step.on_failure) {
            let text = |text: &Option<String>| text.as_deref().map_or(().into(), minijinja::Value::from);
            run.extend([("error", text(&row.error)), ("failed_step", text(&row.failed_step))]);
        }
        if self.step.is_none_or(|step| step.on_failure) {
            // Steps that were never reached are as those that were skipped.
            for (position, missing) in self.work.loaded.compiled.steps.iter().enumerate() {
                if !steps.iter().any(|(id, _)| *id == missing.id) {
                    steps.push((missing.id.clone(), from_json(&recalled.skipped(missing, position).into())));
                }
            }
        }
        let playbook: [(&str, minijinja::Value); 2] =
            [("name", row.playbook_name.clone().into()), ("version", row.playbook_version.into())];
        let mut fields = vec![
            ("trigger", recalled.trigger.rendered()),
            ("steps", minijinja::Value::from_pairs(steps)),
            ("run", minijinja::Value::from_pairs(run)),
            ("playbook", minijinja::Value::from_pairs(playbook)),
        ];
        if let Some((index, item)) = self.item {
            fields.push(("item", from_json(item)));
            fields.push(("index", index.into()));
        }
        minijinja::Value::from_pairs(fields)
    }
}

impl Names for Context<'_> {
    fn find(&self, path: &[String]) -> Option<&Json> {
        let (root, path) = path.split_first()?;
        match root.as_str() {
            "trigger" => follow(&self.recalled.trigger.json, path),
            "steps" => {
                let (step, path) = path.split_first()?;
                let (_, outputs) = self.recalled.outputs.iter().find(|(known, _)| known == step)?;
                follow(&outputs.json, path)
            }
            "item" => follow(self.item?.1, path),
            _ => None,
        }
    }

    fn rendered(&self) -> &minijinja::Value {
        self.rendered.get_or_init(|| self.render())
    }
}

/// Renders something: at once, where that costs little, and otherwise apart, for it may take milliseconds and other
/// tasks do not wait for it.
pub(super) async fn rendered<T: Send + 'static>(
    loaded: &Arc<Loaded>,
    names: &(dyn Names + Sync),
    limit: usize,
    render: impl Fn(&Compiled, &dyn Names, &mut Room) -> T + Send + 'static,
) -> Result<T, String> {
    match rendered_at_once(loaded, names, limit, &render) {
        Some(rendered) => Ok(rendered),
        None => rendered_apart(loaded, names.rendered().clone(), limit, render).await,
    }
}

/// Renders something, if that costs little.
fn rendered_at_once<T>(
    loaded: &Loaded,
    names: &dyn Names,
    limit: usize,
    render: impl Fn(&Compiled, &dyn Names, &mut Room) -> T,
) -> Option<T> {
    let mut room = Room::little(limit);
    let rendered = render(&loaded.compiled, names, &mut room);
    (!room.is_spent()).then_some(rendered)
}

async fn rendered_apart<T: Send + 'static>(
    loaded: &Arc<Loaded>,
    names: minijinja::Value,
    limit: usize,
    render: impl Fn(&Compiled, &dyn Names, &mut Room) -> T + Send + 'static,
) -> Result<T, String> {
    let loaded = Arc::clone(loaded);
    let rendering =
        tokio::task::spawn_blocking(move || render(&loaded.compiled, &names, &mut Room::new(limit)));
    rendering.await.map_err(|_| "rendering panicked, which is a fault of the host".to_owned())
}

/// Whether the condition of a playbook's trigger holds, which is there, for what may start it. One that costs much takes its
/// turn.
pub(super) async fn holds(loaded: &Arc<Loaded>, fired: &Json, turns: &Semaphore) -> bool {
    let render = |compiled: &Compiled, names: &dyn Names, room: &mut Room| {
        let when = compiled.when.as_ref().expect("it has one");
        compiled.compiler.render(when, names, room).map_err(|error| error.of("when"))
    };
    let names = from_json(fired);
    let holds = match rendered_at_once(loaded, &names, CONDITION, render) {
        Some(holds) => holds,
        None => {
            let _turn = turns.acquire().await;
            rendered_apart(loaded, names, CONDITION, render).await.and_then(|holds| holds)
        }
    };
    match holds {
        Ok(holds) => is_true(&holds),
        Err(error) => {
            let playbook = &loaded.compiled.document.name;
            let trigger = loaded.compiled.document.trigger.kind().as_str();
            tracing::warn!(
                playbook,
                trigger,
                error,
                "the condition of a playbook's trigger does not compute; it does not fire"
            );
            false
        }
    }
}

impl Playbooks {
    /// Renders one value of the step at `position`, which `pick` finds.
    pub(super) async fn render_value(
        &self,
        work: &Work,
        recalled: &Recalled,
        position: usize,
        what: &'static str,
        pick: impl Fn(&CompiledStep) -> Option<&CompiledInput> + Send + 'static,
    ) -> Result<Json, String> {
        let context = Context::new(work, recalled, &work.loaded.compiled.steps[position], None);
        let room = self.limits.payload;
        let rendered = rendered(&work.loaded, &context, room, move |compiled, names, room| {
            let value = pick(&compiled.steps[position]).expect("the step has it");
            compiled.compiler.render(&value.template, names, room)
        });
        rendered.await?.map_err(|error| error.of(what))
    }
}

/// Why a step's inputs are not what its app takes.
#[derive(Debug)]
pub(crate) enum InputError {
    /// An input has a wrong value.
    Wrong { input: String, value: Json, expected: String },
    /// The app does not take such an input any more.
    Gone(String),
    /// There is nothing to give.
    Other(String),
}

impl InputError {
    /// Whether what is given is not what the app takes.
    pub(crate) fn is_misfit(&self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// The error as it is recorded. Values are masked before they are shortened: of a secret cut in two, nothing would
    /// be found.
    pub(crate) fn text(self, secrets: &Secrets) -> String {
        match self {
            Self::Wrong { input, mut value, expected } => {
                secrets.mask(&mut value);
                let shown = match value {
                    Json::String(text) => format!("{:?}", shortened(text, VALUE_BYTES)),
                    value => shortened(value.to_string(), VALUE_BYTES),
                };
                format!("input {input} is {shown}, expected {expected}")
            }
            Self::Gone(message) | Self::Other(message) => message,
        }
    }
}

/// Renders the inputs `declared` says, and brings them into its types. Named secrets come from `given`.
pub(crate) fn inputs(
    compiled: &Compiled,
    step: &CompiledStep,
    declared: &[Input],
    secrets: &[(String, Json)],
    names: &dyn Names,
    room: &mut Room,
) -> Result<Vec<(String, Value)>, InputError> {
    let target = step.action.target();
    if let Some(name) = step.inputs.keys().find(|name| declared.iter().all(|input| input.name != **name)) {
        return Err(InputError::Gone(format!("{target} has no input {name:?} any more")));
    }
    let mut render = |input: &Input| {
        let value = render_input(compiled, step, input, secrets, names, room)?;
        Ok((input.name.clone(), value))
    };
    declared.iter().map(&mut render).collect()
}

fn render_input(
    compiled: &Compiled,
    step: &CompiledStep,
    input: &Input,
    secrets: &[(String, Json)],
    names: &dyn Names,
    room: &mut Room,
) -> Result<Value, InputError> {
    let name = &input.name;
    let rendered = match step.inputs.get(name).map(|given| &given.template) {
        Some(crate::template::Template::Secret(secret)) if input.secret => {
            let found = secrets.iter().find(|(known, _)| known == secret);
            let missing = || InputError::Other(format!("input {name}: there is no secret {secret:?}"));
            found.map(|(_, value)| value.clone()).ok_or_else(missing)?
        }
        Some(crate::template::Template::Secret(_)) => {
            let message = format!("input {name}: it is not declared secret any more, so it is given none");
            return Err(InputError::Gone(message));
        }
        Some(template) => compiled.compiler.render(template, names, room).map_err(|error| {
            InputError::Other(match error {
                // An engine's message may quote what it choked on.
                RenderError::Failed(_) | RenderError::Within { .. } if input.secret => {
                    format!("input {name}: its template did not render")
                }
                error @ (RenderError::Failed(_) | RenderError::Within { .. }) => {
                    error.of(&format!("input {name}"))
                }
                RenderError::TooLarge(limit) => format!("the inputs are larger than {limit} bytes in all"),
            })
        })?,
        None => Json::Null,
    };
    taken(input, rendered, step.action.target())
}

/// A value as an input takes it: its default for `null`, in its type, and one of its choices.
pub(crate) fn taken(input: &Input, given: Json, target: &str) -> Result<Value, InputError> {
    let json = match (given, &input.default) {
        (Json::Null, Some(default)) => default.clone(),
        (given, _) => given,
    };
    let wrong = |expected: String| {
        let value = if input.secret { MASK.into() } else { json.clone() };
        InputError::Wrong { input: input.name.clone(), value, expected }
    };
    let expected = convert::expectation(input.value_type);
    let value = convert::to_value(&json, input.value_type)
        .ok_or_else(|| wrong(convert::expectation_of(&json, input.value_type)))?;
    match &value {
        Value::None if input.required => Err(wrong(format!("{expected}: {target} requires it"))),
        Value::Text(text) if !input.choices.is_empty() && !input.choices.contains(text) => {
            Err(wrong(format!("one of {}", input.choices.join(", "))))
        }
        Value::Texts(texts)
            if !input.choices.is_empty() && texts.iter().any(|text| !input.choices.contains(text)) =>
        {
            Err(wrong(format!("a list of {}", input.choices.join(", "))))
        }
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use bellwether_kernel::PlaybookId;
    use serde_json::json;

    use super::*;
    use crate::Format;

    #[tokio::test]
    async fn a_condition_of_a_trigger_that_costs_much_holds_nobody_up() {
        let turns = Semaphore::new(1);
        for (when, is_costly, expected) in [
            ("value > 1", false, true),
            ("value > 2", false, false),
            ("('x' * 2000000)|length > value", true, true),
            ("('x' * 2000000)|length < value", true, false),
            ("'x' * 100000000", true, false),
        ] {
            let trigger = json!({"type": "metric", "metric": "m", "when": when});
            let steps = json!([{"id": "a", "app": "echo"}]);
            let source = json!({"name": "a", "trigger": trigger, "steps": steps}).to_string();
            let loaded = Arc::new(Loaded::read(PlaybookId(1), 1, source, Format::Json).unwrap());
            let fired = json!({"value": 2});
            let mut holding = pin!(holds(&loaded, &fired, &turns));
            let first = futures::poll!(&mut holding);
            assert_eq!(first.is_pending(), is_costly, "{when}");
            let holds = match first {
                std::task::Poll::Ready(holds) => holds,
                std::task::Poll::Pending => holding.await,
            };
            assert_eq!(holds, expected, "{when}");
        }
    }
}
