//! What `<`, `<=`, `>`, `>=` and `~` do. The engine orders values of different kinds by their kind, so that every text is
//! greater than every number, and writes values as Python does. It asks nobody about it: its operators cannot be
//! replaced, its instructions can. Those of these operators are exchanged for calls of functions of the operators' own
//! names, which no template can give to anything else.
//!
//! The engine keeps no instructions that were changed, so a template with such an operator is compiled whenever it is
//! rendered, which takes some microseconds.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use minijinja::machinery::{
    CodeGenerator, Instruction, Instructions, eval, make_string_output, parse, parse_expr,
};
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State};

use super::text::CONCATENATION;
use super::{DEPTH, syntax};

/// The operators, each with its instruction and the tests that are the same.
const ORDERS: [Order; 4] = [
    Order {
        operator: "<",
        chained: "a < in a chain",
        name: "Lt",
        tests: &["<", "lt", "lessthan"],
        holds: Ordering::is_lt,
    },
    Order {
        operator: "<=",
        chained: "a <= in a chain",
        name: "Lte",
        tests: &["<=", "le"],
        holds: Ordering::is_le,
    },
    Order {
        operator: ">",
        chained: "a > in a chain",
        name: "Gt",
        tests: &[">", "gt", "greaterthan"],
        holds: Ordering::is_gt,
    },
    Order {
        operator: ">=",
        chained: "a >= in a chain",
        name: "Gte",
        tests: &[">=", "ge"],
        holds: Ordering::is_ge,
    },
];

struct Order {
    /// The operator, and its function.
    operator: &'static str,
    /// The function of one that another comparison follows, as in `a < b < c`.
    chained: &'static str,
    /// What the engine calls it within a chain.
    name: &'static str,
    tests: &'static [&'static str],
    holds: fn(Ordering) -> bool,
}

/// Adds the functions and tests of the operators.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    for Order { operator, chained, tests, holds, .. } in &ORDERS {
        let compare = move |state: &mut State<'_, '_>, left: Value, right: Value| {
            order(state, operator, &left, &right, DEPTH).map(holds)
        };
        environment.add_function(*operator, compare);
        // What follows looks at what held, and then compares with the right one.
        environment.add_function(*chained, move |state: &mut State<'_, '_>, left: Value, right: Value| {
            let held = order(state, operator, &left, &right, DEPTH).map(holds)?;
            // Unpacked, the first is on top.
            Ok(Value::from(vec![held.into(), right]))
        });
        for test in *tests {
            environment.add_test(*test, compare);
        }
    }
}

/// How two values are ordered that have an order: numbers (a boolean is 0 or 1), texts, and lists by their first items
/// that are not the same.
fn order(
    state: &State<'_, '_>,
    operator: &str,
    left: &Value,
    right: &Value,
    depth: usize,
) -> Result<Ordering, Error> {
    use ValueKind::{Bool, Iterable, Number, Seq, String};
    state.consume_fuel(1)?;
    for value in [left, right] {
        if value.is_undefined() {
            // It knows how to say which variable it was.
            minijinja::filters::string(state, value)?;
        }
    }
    match (left.kind(), right.kind()) {
        (Number | Bool, Number | Bool) | (String, String) => Ok(left.cmp(right)),
        (Seq | Iterable, Seq | Iterable) if depth > 0 => {
            let (mut lefts, mut rights) = (left.try_iter()?, right.try_iter()?);
            loop {
                match (lefts.next(), rights.next()) {
                    (Some(left), Some(right)) if left == right => state.consume_fuel(1)?,
                    (Some(left), Some(right)) => return order(state, operator, &left, &right, depth - 1),
                    (left, right) => return Ok(left.is_some().cmp(&right.is_some())),
                }
            }
        }
        (one, other) => {
            let help = match (one, other) {
                (String, Number) | (Number, String) => "`| int` and `| float` make a number of a text",
                _ => "numbers have an order, texts, and lists of such",
            };
            let (one, other) = (named(one), named(other));
            let problem = format!("{one} and {other} cannot be compared with `{operator}`: {help}");
            Err(Error::new(ErrorKind::InvalidOperation, problem))
        }
    }
}

fn named(kind: ValueKind) -> String {
    match kind {
        ValueKind::None => "null".into(),
        ValueKind::Bool => "a boolean".into(),
        ValueKind::Number => "a number".into(),
        ValueKind::String => "a text".into(),
        ValueKind::Seq | ValueKind::Iterable => "a list".into(),
        ValueKind::Map => "an object".into(),
        other => format!("{other}"),
    }
}

/// Whether an expression has an operator to be exchanged.
pub(super) fn is_needed_by_expression(source: &str) -> bool {
    of_expression(source).is_ok_and(|instructions| is_needed(&instructions))
}

/// Whether a text has one.
pub(super) fn is_needed_by_text(source: &str) -> bool {
    of_text(source).is_ok_and(|instructions| is_needed(&instructions))
}

fn is_needed(instructions: &Instructions<'_>) -> bool {
    each_of(instructions).any(|instruction| place_of(instruction).is_some())
}

/// Evaluates an expression with its operators exchanged.
pub(super) fn evaluate(environment: &Environment<'_>, source: &str, names: Value) -> Result<Value, Error> {
    let instructions = exchanged(&of_expression(source)?);
    let (blocks, mut nowhere) = (BTreeMap::new(), String::new());
    let mut output = make_string_output(&mut nowhere);
    let (value, _) = eval(environment, &instructions, names, &blocks, &mut output, AutoEscape::None)?;
    Ok(value.expect("an expression leaves a value"))
}

/// Renders a text with its operators exchanged.
pub(super) fn render(environment: &Environment<'_>, source: &str, names: Value) -> Result<String, Error> {
    let instructions = exchanged(&of_text(source)?);
    let (blocks, mut text) = (BTreeMap::new(), String::new());
    let mut output = make_string_output(&mut text);
    eval(environment, &instructions, names, &blocks, &mut output, AutoEscape::None)?;
    Ok(text)
}

fn of_expression(source: &str) -> Result<Instructions<'_>, Error> {
    let expression = parse_expr(source)?;
    let mut generator = CodeGenerator::new("<expression>", source);
    generator.compile_expr(&expression);
    Ok(generator.finish().0)
}

fn of_text(source: &str) -> Result<Instructions<'_>, Error> {
    let statement = parse(source, "<text>", syntax())?;
    let mut generator = CodeGenerator::new("<text>", source);
    generator.compile_stmt(&statement);
    Ok(generator.finish().0)
}

fn each_of<'a, 's>(instructions: &'a Instructions<'s>) -> impl Iterator<Item = &'a Instruction<'s>> {
    (0..).map_while(|index| instructions.get(index))
}

/// What stands in an instruction's place, if anything does.
fn place_of(instruction: &Instruction<'_>) -> Option<Vec<Instruction<'static>>> {
    let called = |operator: &str| {
        let order = ORDERS.iter().find(|order| order.operator == operator)?;
        Some(vec![Instruction::CallFunction(order.operator, Some(2))])
    };
    match instruction {
        Instruction::StringConcat => Some(vec![Instruction::CallFunction(CONCATENATION, Some(2))]),
        Instruction::Lt => called("<"),
        Instruction::Lte => called("<="),
        Instruction::Gt => called(">"),
        Instruction::Gte => called(">="),
        Instruction::CompareAndPreserve(operator) => {
            // Which one it is the engine tells in words alone.
            let name = format!("{operator:?}");
            let order = ORDERS.iter().find(|order| order.name == name)?;
            Some(vec![Instruction::CallFunction(order.chained, Some(2)), Instruction::UnpackList(2)])
        }
        _ => None,
    }
}

/// The same instructions with those of the operators exchanged, and every jump to where its goal went.
fn exchanged<'s>(instructions: &Instructions<'s>) -> Instructions<'s> {
    let mut next = 0;
    let mut places: Vec<u32> = Vec::new();
    for instruction in each_of(instructions) {
        places.push(next);
        next += place_of(instruction).map_or(1, |placed| placed.len() as u32);
    }
    places.push(next);
    let moved = |goal: &u32| places[*goal as usize];
    let mut changed = Instructions::new(instructions.name(), instructions.source());
    for (index, instruction) in (0..).zip(each_of(instructions)) {
        let placed = place_of(instruction).unwrap_or_else(|| {
            vec![match instruction {
                Instruction::Iterate(goal) => Instruction::Iterate(moved(goal)),
                Instruction::Jump(goal) => Instruction::Jump(moved(goal)),
                Instruction::JumpIfFalse(goal) => Instruction::JumpIfFalse(moved(goal)),
                Instruction::JumpIfFalseOrPop(goal) => Instruction::JumpIfFalseOrPop(moved(goal)),
                Instruction::JumpIfTrueOrPop(goal) => Instruction::JumpIfTrueOrPop(moved(goal)),
                other => other.clone(),
            }]
        });
        for instruction in placed {
            match (instructions.get_span(index), instructions.get_line(index)) {
                (Some(span), _) => changed.add_with_span(instruction, span),
                (None, Some(line)) => changed.add_with_line(instruction, line as u16),
                (None, None) => changed.add(instruction),
            };
        }
    }
    changed
}
