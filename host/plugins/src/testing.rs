//! What tests stand on: a host in memory, and plugins whose code is text and whose shape comes from the contract
//! itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bellwether_access::{Principal, Role};
use bellwether_engine::{CallLimits, EngineSettings};
use bellwether_kernel::{Clock, KeyId, ManualClock, OrganisationId, Randomness, SeededRandomness, Timestamp};
use bellwether_playbooks::AppCall;
use bellwether_store::{MemoryStore, SharedStore};
use bytes::Bytes;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::{Limits, Plugins, Services};

/// A host in memory; its components are kept in a folder that goes with it.
pub(crate) struct House {
    pub(crate) services: Services,
    pub(crate) limits: Limits,
    /// The clock the services read.
    pub(crate) clock: Arc<ManualClock>,
    folder: Arc<tempfile::TempDir>,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::on(Arc::default()).await
    }

    pub(crate) async fn on(store: Arc<MemoryStore>) -> Self {
        Self::open(store, Arc::new(tempfile::tempdir().unwrap())).await
    }

    /// What a new process finds: the components are where they were, and `store` is what is left of the store.
    pub(crate) async fn again(&self, store: Arc<MemoryStore>) -> Self {
        Self::open(store, Arc::clone(&self.folder)).await
    }

    async fn open(store: Arc<MemoryStore>, folder: Arc<tempfile::TempDir>) -> Self {
        let store: SharedStore = store;
        let manual = Arc::new(ManualClock::new(Timestamp::parse("2024-04-01T12:30:00Z").unwrap()));
        let clock = Arc::clone(&manual) as Arc<dyn Clock>;
        let randomness: Arc<dyn Randomness> = Arc::new(SeededRandomness::new(1));
        let settings = EngineSettings { calls: 8, large_calls: 2, cache: Some(folder.path().join("code")) };
        let services = Services::alone(store, folder.path(), &settings, clock, randomness).await.unwrap();
        // Short enough for what never ends, long enough for a loaded machine.
        let call = CallLimits { wall: Duration::from_secs(2), memory: 8 << 20, ..CallLimits::default() };
        let limits = Limits { call, describe: Duration::from_millis(300), versions: 3, ..Limits::default() };
        Self { services, clock: manual, limits, folder }
    }

    /// The components whose machine code is kept, as their digests in hexadecimal.
    pub(crate) fn compiled(&self) -> BTreeSet<String> {
        let mut digests = BTreeSet::new();
        for sandbox in std::fs::read_dir(self.folder.path().join("code")).unwrap() {
            for file in std::fs::read_dir(sandbox.unwrap().path()).unwrap() {
                let name = file.unwrap().file_name().into_string().unwrap();
                digests.extend(name.split_once('-').map(|(digest, _)| digest.to_owned()));
            }
        }
        digests
    }

    pub(crate) async fn plugins(&self) -> Arc<Plugins> {
        Plugins::open(self.services.clone(), self.limits).await.unwrap()
    }
}

/// A key's holder in an organisation of that number.
pub(crate) fn principal(organisation: u64, role: Role) -> Arc<Principal> {
    Arc::new(Principal {
        organisation: OrganisationId(organisation),
        organisation_name: format!("organisation-{organisation}"),
        time_zone: "UTC".to_owned(),
        key: KeyId::random(&SeededRandomness::new(organisation)),
        key_name: "test".to_owned(),
        role,
    })
}

/// A call of an app without inputs, which has a minute.
pub(crate) fn app_call() -> AppCall {
    AppCall {
        principal: principal(1, Role::Write),
        idempotency_key: "k".into(),
        attempt: 1,
        inputs: Vec::new(),
        time_limit: Duration::from_secs(60),
        effects: None,
    }
}

/// A component of the contract's `world`, from the text of its core module.
pub(crate) fn component(world: &str, module: &str, name: &str, version: &str) -> Bytes {
    component_of(&[], world, module, name, version)
}

/// A component of a `world` of the contract, or of the last of further packages, each as its WIT.
fn component_of(packages: &[&str], world: &str, module: &str, name: &str, version: &str) -> Bytes {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let (mut package, _) = resolve.push_dir(wit).unwrap();
    for text in packages {
        package = resolve.push_str("package.wit", text).unwrap();
    }
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let mut encoder = ComponentEncoder::default();
    let bytes = encoder.module(&module).unwrap().validate(true).encode().unwrap();
    named(bytes, name, version)
}

/// `component` with its name and version in the sections every tool writes them to.
pub(crate) fn named(mut component: Vec<u8>, name: &str, version: &str) -> Bytes {
    let short = |bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 128).unwrap();
        [&[length], bytes].concat()
    };
    let mut section = |title: &str, content: &[u8]| {
        component.push(0);
        component.extend(short(&[&*short(title.as_bytes()), content].concat()));
    };
    section("component-name", &[&[0], &*short(&short(name.as_bytes()))].concat());
    section("version", version.as_bytes());
    component.into()
}

/// Where the core modules below keep their constants, their answers and what they are given.
const MEMORY: &str = r#"(memory (export "memory") 1)
    (global $free (mut i32) (i32.const 32768))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
        (global.set $free (i32.add (local.get $at) (local.get 3)))
        (local.get $at))"#;

/// An app without inputs, with one output `answer` of type integer. `describe` runs first in its description, `run` is
/// what `app.run` does: it leaves the address of its answer; `$ok` is that of the answer 7, `$failed` that of the error
/// "no luck\nat all", to be tried again after 1,500 ms.
pub(crate) fn app(imports: &str, describe: &str, run: &str) -> Bytes {
    named_app("probe", "1.2.3", imports, describe, run)
}

/// [`app`], called otherwise.
pub(crate) fn named_app(name: &str, version: &str, imports: &str, describe: &str, run: &str) -> Bytes {
    component("app-plugin", &app_module(imports, describe, run), name, version)
}

/// [`app`] with a runtime that imports chance and time of WASI: `$chance` and `$now` (which leaves seconds and
/// nanoseconds at an address). `$answer` is the address of the answer's integer.
pub(crate) fn worldly_app(describe: &str, run: &str) -> Bytes {
    let imports = r#"(import "wasi:random/random@0.2.0" "get-random-u64" (func $chance (result i64)))
        (import "wasi:clocks/wall-clock@0.2.3" "now" (func $now (param i32)))
        (global $answer i32 (i32.const 1264))"#;
    let packages = [
        "package wasi:random@0.2.0; interface random { get-random-u64: func() -> u64; }",
        "package wasi:clocks@0.2.3; interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }",
        "package test:worldly; world app { import wasi:random/random@0.2.0; import wasi:clocks/wall-clock@0.2.3; export bellwether:plugin/app@0.1.0; }",
    ];
    component_of(&packages, "app", &app_module(imports, describe, run), "worldly", "1.0.0")
}

/// [`app`] that sends requests in WASI's words, as far as the texts and bytes it hands over for them go. What the names
/// stand for: `$fields` and `$request` make one of each, `$append`, `$path` and `$write` take a handle first, then texts
/// and lists by address and length, and `$append` and `$write` an address for their answer.
pub(crate) fn sending_app(run: &str) -> Bytes {
    let imports = r#"
        (import "wasi:http/types@0.2.0" "[constructor]fields" (func $fields (result i32)))
        (import "wasi:http/types@0.2.0" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
        (import "wasi:http/types@0.2.0" "[constructor]outgoing-request" (func $request (param i32) (result i32)))
        (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-path-with-query"
            (func $path (param i32 i32 i32 i32) (result i32)))
        (import "wasi:io/streams@0.2.0" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))
        (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))"#;
    let packages = [
        "package wasi:io@0.2.0;
        interface error { resource error; }
        interface streams {
            use error.{error};
            variant stream-error { last-operation-failed(error), closed }
            resource output-stream { write: func(contents: list<u8>) -> result<_, stream-error>; }
        }",
        "package wasi:cli@0.2.0;
        interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }",
        "package wasi:http@0.2.0;
        interface types {
            variant header-error { invalid-syntax, forbidden, immutable }
            resource fields {
                constructor();
                append: func(name: string, value: list<u8>) -> result<_, header-error>;
            }
            resource outgoing-request {
                constructor(headers: fields);
                set-path-with-query: func(path-with-query: option<string>) -> result;
            }
        }",
        "package test:sending; world app {
            import wasi:http/types@0.2.0; import wasi:io/streams@0.2.0; import wasi:cli/stdout@0.2.0;
            export bellwether:plugin/app@0.1.0;
        }",
    ];
    component_of(&packages, "app", &app_module(imports, "", run), "sending", "1.0.0")
}

fn app_module(imports: &str, describe: &str, run: &str) -> String {
    format!(
        r#"(module {imports} {MEMORY}
        (data (i32.const 1000) "a probe")
        (data (i32.const 1010) "answer")
        (data (i32.const 1020) "no luck\nat all")
        ;; summary, no inputs, one output: its name, integer, no help.
        (data (i32.const 1100) "\e8\03\00\00\07\00\00\00" "\00\00\00\00\00\00\00\00" "\80\04\00\00\01\00\00\00")
        (data (i32.const 1152) "\f2\03\00\00\06\00\00\00" "\01\00\00\00" "\00\00\00\00\00\00\00\00")
        ;; ok, a list of one named value: answer, integer 7.
        (data (i32.const 1200) "\00\00\00\00\00\00\00\00" "\e0\04\00\00\01\00\00\00")
        (data (i32.const 1248) "\f2\03\00\00\06\00\00\00" "\02\00\00\00\00\00\00\00" "\07\00\00\00\00\00\00\00")
        ;; an error: its message, after 1500 milliseconds.
        (data (i32.const 1304) "\01\00\00\00\00\00\00\00" "\fc\03\00\00\0e\00\00\00" "\02\00\00\00\00\00\00\00" "\dc\05\00\00\00\00\00\00")
        (global $ok i32 (i32.const 1200))
        (global $failed i32 (i32.const 1304))
        (func (export "bellwether:plugin/app@0.1.0#describe") (result i32) {describe} (i32.const 1100))
        (func (export "bellwether:plugin/app@0.1.0#run") (param i32 i32 i32 i32 i32) (result i32) {run}))"#
    )
}

/// A dialect with the routes `GET /hello/{name}` for everybody and `POST /write`, whose key is in the header `X-Key`,
/// or in the query as `key`.
/// `handle` is what it does with the request at `(local.get 0)`: it leaves the address of its answer; `$ok` is that of
/// 201 with the header `X-A: b` and the request's first parameter as its body.
pub(crate) fn dialect(imports: &str, handle: &str) -> Bytes {
    component("dialect-plugin", &dialect_module(imports, handle), "speaker", "0.9.0")
}

/// [`dialect`], of another version.
pub(crate) fn versioned_dialect(version: &str, handle: &str) -> Bytes {
    component("dialect-plugin", &dialect_module("", handle), "speaker", version)
}

fn dialect_module(imports: &str, handle: &str) -> String {
    format!(
        r#"(module {imports} {MEMORY}
        (data (i32.const 1000) "a probe")
        (data (i32.const 1010) "GET")
        (data (i32.const 1015) "/hello/{{name}}")
        (data (i32.const 1030) "POST")
        (data (i32.const 1035) "/write")
        (data (i32.const 1045) "X-Key")
        (data (i32.const 1050) "X-A")
        (data (i32.const 1055) "b")
        (data (i32.const 1060) "key")
        ;; summary, two routes.
        (data (i32.const 1100) "\e8\03\00\00\07\00\00\00" "\80\04\00\00\02\00\00\00")
        ;; method, path, authentication, twice.
        (data (i32.const 1152) "\f2\03\00\00\03\00\00\00" "\f7\03\00\00\0d\00\00\00" "\00\00\00\00\00\00\00\00")
        (data (i32.const 1176) "\06\04\00\00\04\00\00\00" "\0b\04\00\00\06\00\00\00" "\e0\04\00\00\02\00\00\00")
        ;; the case header-key and its name, the case query-key and its name; a case takes 36 bytes.
        (data (i32.const 1248) "\01\00\00\00" "\15\04\00\00\05\00\00\00")
        (data (i32.const 1284) "\02\00\00\00" "\24\04\00\00\03\00\00\00")
        ;; 201, one header, the body's place and length are filled in.
        (data (i32.const 1400) "\c9\00\00\00" "\b0\05\00\00\01\00\00\00")
        (data (i32.const 1456) "\1a\04\00\00\03\00\00\00" "\1f\04\00\00\01\00\00\00")
        (global $ok i32 (i32.const 1400))
        (func (export "bellwether:plugin/dialect@0.1.0#describe") (result i32) (i32.const 1100))
        (func (export "bellwether:plugin/dialect@0.1.0#handle") (param i32) (result i32) {handle}))"#
    )
}

/// A dialect in the fuller form, with the route `GET /word` for whoever has a key in the header `X-Key` and another in the
/// query as `key`. It answers with its setting `word`, "hello" unless it is set; one of three letters it refuses.
pub(crate) fn configurable_dialect() -> Bytes {
    let module = format!(
        r#"(module {MEMORY}
        (data (i32.const 1000) "a probe")
        (data (i32.const 1010) "GET")
        (data (i32.const 1015) "/word")
        (data (i32.const 1045) "X-Key")
        (data (i32.const 1060) "key")
        (data (i32.const 1070) "word")
        (data (i32.const 1080) "\"hello\"")
        (data (i32.const 1090) "another")
        ;; summary, one route, one setting.
        (data (i32.const 1100) "\e8\03\00\00\07\00\00\00" "\80\04\00\00\01\00\00\00" "\b0\04\00\00\01\00\00\00")
        ;; method, path, one alternative.
        (data (i32.const 1152) "\f2\03\00\00\03\00\00\00" "\f7\03\00\00\05\00\00\00" "\a0\04\00\00\01\00\00\00")
        ;; two credentials: the case header-key and its name, the case query-key and its name.
        (data (i32.const 1184) "\e0\04\00\00\02\00\00\00")
        (data (i32.const 1248) "\01\00\00\00" "\15\04\00\00\05\00\00\00")
        (data (i32.const 1284) "\02\00\00\00" "\24\04\00\00\03\00\00\00")
        ;; name, text and not required, a default, no choices, not secret, no help.
        (data (i32.const 1200) "\2e\04\00\00\04\00\00\00" "\00\00\00\00" "\01\00\00\00\38\04\00\00\07\00\00\00")
        ;; 200, no headers, the body's place and length are filled in.
        (data (i32.const 1400) "\c8\00\00\00")
        ;; an error: field, value, what would be right; and none.
        (data (i32.const 1500) "\01\00\00\00" "\2e\04\00\00\04\00\00\00" "\00\00\00\00\00\00\00\00" "\42\04\00\00\07\00\00\00")
        (data (i32.const 1540) "\00\00\00\00")
        (func (export "bellwether:plugin/configurable-dialect@0.1.0#describe") (result i32) (i32.const 1100))
        (func (export "bellwether:plugin/configurable-dialect@0.1.0#check") (param i32 i32) (result i32)
            (select (i32.const 1500) (i32.const 1540) (i32.eq (i32.load offset=20 (local.get 0)) (i32.const 3))))
        (func (export "bellwether:plugin/configurable-dialect@0.1.0#handle") (param i32) (result i32)
            (i32.store (i32.const 1412) (i32.load offset=16 (i32.load (local.get 0))))
            (i32.store (i32.const 1416) (i32.load offset=20 (i32.load (local.get 0))))
            (i32.const 1400)))"#
    );
    component("configurable-dialect-plugin", &module, "greeter", "1.0.0")
}

/// A forecaster without settings that wants to see 1 to 2 points. `describe` runs first in its description, `predict`
/// in its prediction, which is that of one point: expected, lower and upper are the numbers at 1304, 1312 and 1320, 0
/// unless they are set, and the answer itself lies at 1200.
pub(crate) fn forecaster(describe: &str, predict: &str) -> Bytes {
    versioned_forecaster("1.0.0", describe, predict)
}

/// [`forecaster`], of another version.
pub(crate) fn versioned_forecaster(version: &str, describe: &str, predict: &str) -> Bytes {
    let module = format!(
        r#"(module {MEMORY}
        (data (i32.const 1000) "an oracle")
        (data (i32.const 1010) "\ff")
        ;; summary, no settings, least and best.
        (data (i32.const 1100) "\e8\03\00\00\09\00\00\00" "\00\00\00\00\00\00\00\00" "\01\00\00\00\02\00\00\00")
        ;; ok, three lists of one number.
        (data (i32.const 1200) "\00\00\00\00" "\18\05\00\00\01\00\00\00" "\20\05\00\00\01\00\00\00" "\28\05\00\00\01\00\00\00")
        (func (export "bellwether:plugin/forecaster@0.1.0#describe") (result i32) {describe} (i32.const 1100))
        (func (export "bellwether:plugin/forecaster@0.1.0#predict")
            (param i32 i32 i64 i64 i32 i32 i32 f64) (result i32) {predict} (i32.const 1200)))"#
    );
    component("forecaster-plugin", &module, "oracle", version)
}

/// The detector `judge` with as many settings as it `requires`, none or the text `limit`. `detect` runs first in its
/// verdict, which is that of one point, as usual as can be.
pub(crate) fn detector(version: &str, requires: u8, detect: &str) -> Bytes {
    let module = format!(
        r#"(module {MEMORY}
        (data (i32.const 1000) "a judge")
        (data (i32.const 1010) "limit")
        ;; summary, settings, one series, least and best.
        (data (i32.const 1100) "\e8\03\00\00\07\00\00\00" "\80\04\00\00\{requires:02x}\00\00\00" "\00\00\00\00" "\01\00\00\00\01\00\00\00")
        ;; limit, a text, required; neither default, choices nor help.
        (data (i32.const 1152) "\f2\03\00\00\05\00\00\00" "\00\01")
        ;; ok, the scores of one series, no state; four lists of one number, no season.
        (data (i32.const 1200) "\00\00\00\00" "\18\05\00\00\01\00\00\00")
        (data (i32.const 1304) "\78\05\00\00\01\00\00\00" "\78\05\00\00\01\00\00\00" "\78\05\00\00\01\00\00\00" "\78\05\00\00\01\00\00\00")
        (func (export "bellwether:plugin/detector@0.1.0#describe") (result i32) (i32.const 1100))
        (func (export "bellwether:plugin/detector@0.1.0#detect")
            (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32) (result i32) {detect} (i32.const 1200)))"#
    );
    component("detector-plugin", &module, "judge", version)
}
