//! Plugins made of text, a dialect to be mounted and an app to be called: the contract gives its shape, this file their constants and their code.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where the constants begin in the plugin's memory.
const BASE: usize = 1024;

/// Constants as they lie in memory, each field of four bytes.
#[derive(Default)]
struct Constants(Vec<u8>);

impl Constants {
    fn place(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        let place = BASE + self.0.len();
        self.0.extend(bytes);
        u32::try_from(place).unwrap()
    }

    /// The two fields of a text.
    fn text(&mut self, text: &str) -> [u32; 2] {
        [self.place(text.as_bytes()), u32::try_from(text.len()).unwrap()]
    }

    fn fields(&mut self, fields: &[u32]) -> u32 {
        let bytes: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
        self.place(&bytes)
    }

    /// The two fields of a list of `count` records.
    fn list(&mut self, count: u32, fields: &[u32]) -> [u32; 2] {
        [self.fields(fields), count]
    }

    /// An answer that sets cookies, with a text for a body.
    fn answer(&mut self, status: u32, cookies: &[&str], body: &str) -> u32 {
        let name = self.text("set-cookie");
        let cookies: Vec<[u32; 2]> = cookies.iter().map(|cookie| self.text(cookie)).collect();
        let headers: Vec<u32> = cookies.iter().flat_map(|cookie| [name, *cookie].concat()).collect();
        let [headers, count] = self.list(u32::try_from(cookies.len()).unwrap(), &headers);
        let [at, length] = self.text(body);
        self.fields(&[status, headers, count, at, length])
    }
}

/// The dialect `speaker` 1.0.0, which answers `GET /open` with "open".
pub(crate) fn component() -> Vec<u8> {
    version("1.0.0", 200, "open")
}

/// The dialect `speaker`, which answers `GET /open` so, and would set a cookie of the pages beside one of its own. `GET /open` is for anybody, `POST /signed` is signed with the word `TC`, `GET /key` takes
/// a key in the query as `api_key`; the caller is answered 200 if known, 401 if not. `GET /trap` and `GET /forever` are
/// what they say, and `GET /headers` answers the headers it is given, a zero or more behind each text.
pub(crate) fn version(version: &str, status: u32, open: &str) -> Vec<u8> {
    let mut constants = Constants::default();
    let timestamp = constants.text("Timestamp");
    let colon = constants.text(":");
    // request target, `:`, method, `:`, the header Timestamp; a part is its case and a text.
    let parts: Vec<u32> = [
        [1, 0, 0],
        [0, colon[0], colon[1]],
        [2, 0, 0],
        [0, colon[0], colon[1]],
        [3, timestamp[0], timestamp[1]],
    ]
    .concat();
    let message = constants.list(5, &parts);
    let word = constants.text("TC");
    // The case `signed`: prefix, message, base64, the header of the time, 300 s.
    let signed = [&[3], &word[..], &message, &[0], &timestamp, &[300]].concat();
    let signed = constants.list(1, &signed);
    let query = constants.text("api_key");
    let query = constants.list(1, &[2, query[0], query[1], 0, 0, 0, 0, 0, 0]);
    let mut routes = Vec::new();
    for (method, path, authentication) in [
        ("GET", "/open", [0, 0]),
        ("POST", "/signed", signed),
        ("GET", "/key", query),
        ("GET", "/trap", [0, 0]),
        ("GET", "/forever", [0, 0]),
        ("GET", "/headers", [0, 0]),
    ] {
        routes.extend(constants.text(method));
        routes.extend(constants.text(path));
        routes.extend(authentication);
    }
    let routes = constants.list(6, &routes);
    let summary = constants.text("Speaks.");
    let description = constants.fields(&[summary[0], summary[1], routes[0], routes[1]]);
    let open = constants.answer(status, &["bellwether=forged; Path=/", "theirs=1"], open);
    let known = constants.answer(200, &[], "known");
    let refused = constants.answer(401, &[], &format!("refused by {version}"));
    let data: String = constants.0.iter().map(|byte| format!("\\{byte:02x}")).collect();
    // In what `handle` is given, the caller comes first (is there one, and at 8 is it a failure), at 56 the route, at 84
    // the headers, whose texts lie behind them; the body, which would be next, is empty.
    let module = format!(
        r#"(module
            (memory (export "memory") 1)
            (data (i32.const {BASE}) "{data}")
            (global $free (mut i32) (i32.const 32768))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                (global.set $free (i32.add (i32.add (local.get $at) (local.get 3)) (i32.const 1)))
                (local.get $at))
            (func (export "bellwether:plugin/dialect@0.1.0#describe") (result i32) (i32.const {description}))
            (func (export "bellwether:plugin/dialect@0.1.0#handle") (param $given i32) (result i32)
                (local $route i32)
                (local.set $route (i32.load offset=56 (local.get $given)))
                (if (i32.eq (local.get $route) (i32.const 3)) (then (unreachable)))
                (if (i32.eq (local.get $route) (i32.const 4)) (then (loop $again (br $again))))
                (if (i32.eq (local.get $route) (i32.const 5)) (then
                    (i32.store16 (i32.const 0) (i32.const 200))
                    (i32.store (i32.const 12) (i32.load offset=84 (local.get $given)))
                    (i32.store (i32.const 16)
                        (i32.sub (global.get $free) (i32.load offset=84 (local.get $given))))
                    (return (i32.const 0))))
                (if (i32.eqz (i32.load8_u (local.get $given))) (then (return (i32.const {open}))))
                (if (i32.eqz (i32.load8_u offset=8 (local.get $given))) (then (return (i32.const {known}))))
                (i32.const {refused})))"#
    );
    encoded("dialect-plugin", &module, "speaker", version)
}

/// The app `echo`, which has no code: it takes the text `text`, or nothing.
pub(crate) fn echo(version: &str, takes_text: bool) -> Vec<u8> {
    let inputs = u8::from(takes_text);
    // At 1040 its description (a summary, inputs, no outputs), at 1072 the input: its name, a text, not required, neither
    // default, choices nor help.
    let module = format!(
        r#"(module
            (memory (export "memory") 1)
            (data (i32.const 1024) "text" "Echoes.")
            (data (i32.const 1040) "\04\04\00\00\07\00\00\00" "\30\04\00\00\0{inputs}\00\00\00")
            (data (i32.const 1072) "\00\04\00\00\04\00\00\00")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (unreachable))
            (func (export "bellwether:plugin/app@0.1.0#describe") (result i32) (i32.const 1040))
            (func (export "bellwether:plugin/app@0.1.0#run") (param i32 i32 i32 i32 i32) (result i32) (unreachable)))"#
    );
    encoded("app-plugin", &module, "echo", version)
}

/// A component of a world of the contract.
fn encoded(world: &str, module: &str, name: &str, version: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let mut component = ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap();
    // Name and version are sections of their own: kind 0, length, the section's name, its content. That of the name is of
    // kind 0 too, and its length stands before it.
    let short = |text: &str| u8::try_from(text.len()).unwrap();
    let named = [&[0, short(name) + 1, short(name)], name.as_bytes()].concat();
    for (section, content) in [("component-name", &*named), ("version", version.as_bytes())] {
        let length = u8::try_from(1 + section.len() + content.len()).unwrap();
        component.extend([0, length, short(section)]);
        component.extend([section.as_bytes(), content].concat());
    }
    component
}
