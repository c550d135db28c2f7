//! Bulk memory operations in pieces.
//!
//! A guest is asked to make way at the head of each loop, but a single `memory.fill` may take milliseconds, and whoever
//! shares its core waits for its end. So before a component is compiled, each bulk operation in it whose length is not
//! known to be small becomes a call of a function that does it [`PIECE`] by [`PIECE`], in a loop. An operation that
//! reaches beyond its memory still traps, after the pieces before the end were done: nobody sees them, since the
//! instance is gone with the trap.

use wasm_encoder::reencode::utils::{
    instruction, name_map, parse_code_section, parse_custom_name_subsection, parse_function_section,
    parse_type_section,
};
use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent, component_utils};
use wasm_encoder::{
    BlockType, CodeSection, Component, Function, FunctionSection, Instruction, InstructionSink, NameSection,
    TypeSection, ValType,
};
use wasmparser::{
    CodeSectionReader, FunctionSectionReader, Name, Operator, Parser, Payload, TypeRef, TypeSectionReader,
    Validator, WasmFeatures,
};

/// Bytes done at once: what takes far less than a tick.
const PIECE: i32 = 128 << 10;

/// Of what this makes of a component: machine code made from another is not used.
pub(crate) const VERSION: u32 = 3;

/// The component with its bulk operations in pieces; one that is not valid as it came, for the compiler to refuse.
pub(crate) fn interruptible(component: &[u8]) -> Result<Vec<u8>, Error> {
    if Validator::new_with_features(WasmFeatures::all()).validate_all(component).is_err() {
        return Ok(component.to_owned());
    }
    let mut made = Component::new();
    let mut pieces = Pieces::default();
    pieces.parse_component(&mut made, Parser::new(0), component)?;
    Ok(made.finish())
}

/// A bulk operation on a memory, its operands apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bulk {
    Fill { memory: u32 },
    Copy { to: u32, from: u32 },
    Init { memory: u32, data: u32 },
}

/// The operands of all of them: where to, what (a byte, or where from), how many bytes.
const OPERANDS: [ValType; 3] = [ValType::I32; 3];
const TO: u32 = 0;
const WHAT: u32 = 1;
const LENGTH: u32 = 2;

impl Bulk {
    fn of(operator: &Operator<'_>) -> Option<Self> {
        Some(match *operator {
            Operator::MemoryFill { mem } => Self::Fill { memory: mem },
            Operator::MemoryCopy { dst_mem, src_mem } => Self::Copy { to: dst_mem, from: src_mem },
            Operator::MemoryInit { data_index, mem } => Self::Init { memory: mem, data: data_index },
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fill { .. } => "memory.fill",
            Self::Copy { .. } => "memory.copy",
            Self::Init { .. } => "memory.init",
        }
    }

    fn push(self, code: &mut InstructionSink<'_>) {
        match self {
            Self::Fill { memory } => code.memory_fill(memory),
            Self::Copy { to, from } => code.memory_copy(to, from),
            Self::Init { memory, data } => code.memory_init(memory, data),
        };
    }

    /// The function that does it in pieces.
    fn function(self) -> Function {
        let mut function = Function::new([]);
        let mut code = function.instructions();
        // Most are small, and a loop's head costs each of them the look whether to make way.
        code.local_get(LENGTH).i32_const(PIECE).i32_gt_u().if_(BlockType::Empty);
        if let Self::Copy { .. } = self {
            // What begins within what is copied is overwritten from its end, or what is still to be read would be lost.
            code.local_get(TO).local_get(WHAT).i32_sub().local_get(LENGTH).i32_lt_u().if_(BlockType::Empty);
            in_a_loop(&mut code, |code| {
                advance(code, LENGTH, -PIECE);
                for place in [TO, WHAT] {
                    code.local_get(place).local_get(LENGTH).i32_add();
                }
                code.i32_const(PIECE);
                self.push(code);
            });
            code.end();
        }
        in_a_loop(&mut code, |code| {
            code.local_get(TO).local_get(WHAT).i32_const(PIECE);
            self.push(code);
            advance(code, TO, PIECE);
            if !matches!(self, Self::Fill { .. }) {
                advance(code, WHAT, PIECE);
            }
            advance(code, LENGTH, -PIECE);
        });
        code.end();
        code.local_get(TO).local_get(WHAT).local_get(LENGTH);
        self.push(&mut code);
        code.end();
        function
    }
}

/// Does `piece` as long as more than one is left.
fn in_a_loop(code: &mut InstructionSink<'_>, piece: impl FnOnce(&mut InstructionSink<'_>)) {
    code.block(BlockType::Empty).loop_(BlockType::Empty);
    code.local_get(LENGTH).i32_const(PIECE).i32_le_u().br_if(1);
    piece(code);
    code.br(0).end().end();
}

fn advance(code: &mut InstructionSink<'_>, local: u32, by: i32) {
    code.local_get(local).i32_const(by).i32_add().local_set(local);
}

/// Rewrites a component.
#[derive(Default)]
struct Pieces {
    module: Module,
    /// What the instruction before pushed, if it is a constant.
    constant: Option<u32>,
}

/// What is known of the module that is being rewritten.
#[derive(Default)]
struct Module {
    types: u32,
    functions: u32,
    /// The operations in it: each gets a function behind the module's own.
    bulk: Vec<Bulk>,
}

impl Module {
    fn read(module: &[u8]) -> wasmparser::Result<Self> {
        let mut read = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(groups) => {
                    for group in groups {
                        read.types += group?.types().len() as u32;
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let is_function = matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                        read.functions += u32::from(is_function);
                    }
                }
                Payload::FunctionSection(functions) => read.functions += functions.count(),
                Payload::CodeSectionEntry(body) => {
                    for operator in body.get_operators_reader()? {
                        let bulk = Bulk::of(&operator?);
                        read.bulk.extend(bulk.filter(|bulk| !read.bulk.contains(bulk)));
                    }
                }
                _ => {}
            }
        }
        Ok(read)
    }

    /// The index of each operation's function.
    fn added(&self) -> impl Iterator<Item = (u32, Bulk)> + '_ {
        (self.functions..).zip(self.bulk.iter().copied())
    }
}

impl Reencode for Pieces {
    type Error = std::convert::Infallible;

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<Instruction<'a>, Error> {
        let length = self.constant.take();
        if let Operator::I32Const { value } = operator {
            self.constant = Some(value.cast_unsigned());
        }
        let bulk = Bulk::of(&operator).filter(|_| length.is_none_or(|length| length > PIECE.cast_unsigned()));
        match bulk.and_then(|bulk| self.module.added().find(|(_, added)| *added == bulk)) {
            Some((function, _)) => Ok(Instruction::Call(function)),
            None => instruction(self, operator),
        }
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: TypeSectionReader<'_>,
    ) -> Result<(), Error> {
        parse_type_section(self, types, section)?;
        if !self.module.bulk.is_empty() {
            types.ty().function(OPERANDS, []);
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        parse_function_section(self, functions, section)?;
        for _ in &self.module.bulk {
            functions.function(self.module.types);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        parse_code_section(self, code, section)?;
        for bulk in &self.module.bulk {
            code.function(&bulk.function());
        }
        Ok(())
    }

    fn parse_custom_name_subsection(
        &mut self,
        names: &mut NameSection,
        section: Name<'_>,
    ) -> Result<(), Error> {
        let Name::Function(functions) = section else {
            return parse_custom_name_subsection(self, names, section);
        };
        let mut map = name_map(functions, Ok)?;
        for (function, bulk) in self.module.added() {
            map.append(function, bulk.name());
        }
        names.functions(&map);
        Ok(())
    }
}

impl ReencodeComponent for Pieces {
    fn parse_component_submodule(
        &mut self,
        component: &mut Component,
        parser: Parser,
        module: &[u8],
    ) -> Result<(), Error> {
        self.module = Module::read(module)?;
        component_utils::parse_component_submodule(self, component, parser, module)
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::component::{Component as Code, Instance, Linker};
    use wasmtime::{Config, Engine, Store, UpdateDeadline};

    use super::*;

    /// Two memories of 1 MiB, and for each operation a function that does it.
    const COMPONENT: &str = r#"(component
        (core module $m
            (memory $a 16) (memory $b 16)
            (data $d "0123456789")
            (func (export "set") (param i32 i32) (i32.store8 $a (local.get 0) (local.get 1)))
            (func (export "get") (param i32) (result i32) (i32.load8_u $a (local.get 0)))
            (func (export "fill") (param i32 i32 i32)
                (memory.fill $a (local.get 0) (local.get 1) (local.get 2)))
            (func (export "copy") (param i32 i32 i32)
                (memory.copy $a $a (local.get 0) (local.get 1) (local.get 2)))
            (func (export "there-and-back") (param i32 i32 i32)
                (memory.copy $b $a (local.get 0) (local.get 1) (local.get 2))
                (memory.copy $a $b (local.get 0) (local.get 0) (local.get 2)))
            (func (export "init") (param i32 i32 i32)
                (memory.init $a $d (local.get 0) (local.get 1) (local.get 2))))
        (core instance $i (instantiate $m))
        (func (export "set") (param "a" u32) (param "b" u32) (canon lift (core func $i "set")))
        (func (export "get") (param "a" u32) (result u32) (canon lift (core func $i "get")))
        (func (export "fill") (param "a" u32) (param "b" u32) (param "c" u32) (canon lift (core func $i "fill")))
        (func (export "copy") (param "a" u32) (param "b" u32) (param "c" u32) (canon lift (core func $i "copy")))
        (func (export "there-and-back") (param "a" u32) (param "b" u32) (param "c" u32)
            (canon lift (core func $i "there-and-back")))
        (func (export "init") (param "a" u32) (param "b" u32) (param "c" u32) (canon lift (core func $i "init"))))"#;

    struct Machine {
        store: Store<u32>,
        instance: Instance,
    }

    impl Machine {
        /// How often the guest is asked to make way is counted in its store.
        fn new(component: &[u8]) -> Self {
            let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
            let code = Code::from_binary(&engine, component).unwrap();
            let mut store = Store::new(&engine, 0);
            store.set_epoch_deadline(0);
            store.epoch_deadline_callback(move |mut store| {
                *store.data_mut() += 1;
                Ok(UpdateDeadline::Continue(0))
            });
            let instance = Linker::new(&engine).instantiate(&mut store, &code).unwrap();
            Self { store, instance }
        }

        /// Whether it came to its end.
        fn operate(&mut self, name: &str, operands: (u32, u32, u32)) -> bool {
            let found = self.instance.get_typed_func::<(u32, u32, u32), ()>(&mut self.store, name).unwrap();
            found.call(&mut self.store, operands).is_ok()
        }

        fn set(&mut self, at: u32, byte: u32) {
            let set = self.instance.get_typed_func::<(u32, u32), ()>(&mut self.store, "set").unwrap();
            set.call(&mut self.store, (at, byte)).unwrap();
        }

        fn get(&mut self, at: u32) -> u32 {
            let get = self.instance.get_typed_func::<(u32,), (u32,)>(&mut self.store, "get").unwrap();
            get.call(&mut self.store, (at,)).unwrap().0
        }
    }

    const MEMORY: u32 = 1 << 20;
    const P: u32 = PIECE.cast_unsigned();

    fn both() -> [Machine; 2] {
        let plain = wat::parse_str(COMPONENT).unwrap();
        let made = interruptible(&plain).unwrap();
        [Machine::new(&plain), Machine::new(&made)]
    }

    #[test]
    fn an_operation_in_pieces_does_what_it_does_at_once() {
        let mut machines = both();
        for machine in &mut machines {
            for at in (0..MEMORY).step_by(997) {
                machine.set(at, at / 997 % 251);
            }
        }
        let operations = [
            ("fill", (5, 0x1FF, 3 * P + 1)),
            ("fill", (MEMORY - 2 * P, 9, 2 * P)),
            ("copy", (0, 7, 4 * P)),
            ("copy", (P + 13, 11, 5 * P + 3)),
            ("copy", (11, P + 13, 5 * P + 3)),
            ("copy", (3 * P, 3 * P, 2 * P)),
            ("copy", (4 * P, 0, 4 * P)),
            ("copy", (1, 0, P)),
            ("copy", (0, 1, P + 1)),
            ("there-and-back", (2 * P, 17, 3 * P + 5)),
            ("init", (P, 2, 8)),
            ("fill", (MEMORY, 1, 0)),
        ];
        for (name, operands) in operations {
            for machine in &mut machines {
                assert!(machine.operate(name, operands), "{name}{operands:?}");
            }
            let [plain, made] = &mut machines;
            let samples = (0..MEMORY).step_by(491).chain((0..8).map(|piece| piece * P)).chain(0..64);
            for at in samples {
                assert_eq!(made.get(at), plain.get(at), "{name}{operands:?} at {at}");
            }
        }
    }

    #[test]
    fn an_operation_beyond_its_memory_traps_wherever_it_begins() {
        for (name, operands) in [
            ("fill", (MEMORY - 2 * P, 1, 2 * P + 1)),
            ("fill", (8, 1, u32::MAX)),
            ("fill", (MEMORY + 1, 1, 0)),
            ("copy", (0, 1, MEMORY)),
            ("copy", (1, 0, MEMORY)),
            ("copy", (P, 0, u32::MAX - P)),
            ("copy", (u32::MAX, 0, 3 * P)),
            ("there-and-back", (0, MEMORY - P, 2 * P)),
            ("init", (0, 0, 11)),
            ("init", (0, 0, 4 * P)),
        ] {
            for mut machine in both() {
                assert!(!machine.operate(name, operands), "{name}{operands:?}");
            }
        }
    }

    #[test]
    fn a_guest_makes_way_between_the_pieces() {
        let [mut plain, mut made] = both();
        for (name, operands) in
            [("fill", (0, 1, MEMORY)), ("copy", (0, P, MEMORY - P)), ("copy", (P, 0, MEMORY - P))]
        {
            let asked = |machine: &mut Machine| {
                let before = *machine.store.data();
                assert!(machine.operate(name, operands));
                *machine.store.data() - before
            };
            assert!(asked(&mut made) >= asked(&mut plain) + MEMORY / P - 2, "{name}");
        }
    }

    #[test]
    fn an_operation_known_to_be_small_is_left_as_it_is() {
        for (length, calls) in [("(i32.const 131072)", 0), ("(i32.const 131073)", 1), ("(local.get 0)", 1)] {
            let body = format!("(memory.fill (i32.const 0) (i32.const 0) {length})");
            let module = format!("(core module (memory 1) (func (param i32) {body}))");
            let made = interruptible(&wat::parse_str(format!("(component {module})")).unwrap()).unwrap();
            let bodies = Parser::new(0).parse_all(&made).filter_map(|payload| match payload.unwrap() {
                Payload::CodeSectionEntry(body) => Some(body),
                _ => None,
            });
            let operators = bodies.flat_map(|body| body.get_operators_reader().unwrap());
            let found = operators.filter(|operator| matches!(operator, Ok(Operator::Call { .. }))).count();
            assert_eq!(found, calls, "{length}");
        }
    }

    #[test]
    fn what_is_no_component_is_left_for_the_compiler() {
        for bytes in [&b"not wasm"[..], b"\0asm\x0d\0\x01\0\x01\xff"] {
            assert_eq!(interruptible(bytes).unwrap(), bytes);
        }
    }
}
