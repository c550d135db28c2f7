//! Reading settings from their three sources, refusing names nothing has.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use bellwether_kernel::FieldError;
use bellwether_kernel::reading::{self, value_at};
use serde_json::{Map, Value};

use super::{Dialect, HOST_KEY_VARIABLE, Settings};
use crate::failure::Failure;

/// What every variable of ours begins with.
const PREFIX: &str = "BELLWETHER_";

/// Variables that are no settings: of the client, of the start, of the build and of the tests.
const OTHER_VARIABLES: &[&str] = &[
    "BELLWETHER_URL",
    "BELLWETHER_KEY",
    "BELLWETHER_CA",
    "BELLWETHER_CONFIG",
    HOST_KEY_VARIABLE,
    "BELLWETHER_COMPONENTS",
    "BELLWETHER_WASM_TOOLCHAIN",
    "BELLWETHER_BINARY",
    "BELLWETHER_PYTHON",
    "BELLWETHER_KILLS",
    "BELLWETHER_KILL_FOLDER",
];

/// How alike two names must be to suggest one for the other; 1 is the same.
const ALIKE: f64 = 0.8;

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody set it.
    Default,
    /// A line of the settings file, counted from 1.
    File(PathBuf, usize),
    /// This environment variable.
    Environment(String),
    /// This flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{} line {line}", path.display()),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Settings and where each comes from.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// The settings.
    pub(crate) settings: Settings,
    /// Each setting's path, value and source, in the structs' order.
    pub(crate) effective: Vec<(String, Value, Source)>,
    /// Variables that begin as ours do and are what Kubernetes tells of a Service.
    pub(crate) passed_over: Vec<String>,
}

impl Loaded {
    /// That these settings are wrong, each by name and where it is set.
    pub(crate) fn refused(&self, wrong: &[FieldError]) -> Failure {
        let source = |wanted: &str| {
            let found = self.effective.iter().find(|(path, ..)| path == wanted);
            found.map_or(Source::Default, |(.., source)| source.clone())
        };
        Failure::Usage(told(wrong, source))
    }

    /// That variables were passed over, for whoever meant one of them to be a setting.
    pub(crate) fn passed_over_told(&self) -> Option<String> {
        let variables = self.passed_over.join(", ");
        let told = || format!("passed over, as what Kubernetes tells of a Service: {variables}");
        (!variables.is_empty()).then(told)
    }
}

/// What is wrong, a line each.
fn told(wrong: &[FieldError], source: impl Fn(&str) -> Source) -> String {
    let told = wrong.iter().map(|error| format!("{error} ({})", source(&error.field)));
    told.collect::<Vec<_>>().join("\n")
}

/// Every setting there is by its path, with its default.
struct Known {
    settings: Map<String, Value>,
    dialect: Map<String, Value>,
}

impl Known {
    fn new() -> Self {
        let leaves = |value: Value| {
            let mut leaves = Map::new();
            flatten(String::new(), value, &mut leaves);
            leaves
        };
        let json = |value: Result<Value, serde_json::Error>| value.expect("settings are JSON");
        Self {
            settings: leaves(json(serde_json::to_value(Settings::default()))),
            dialect: leaves(json(serde_json::to_value(Dialect::default()))),
        }
    }

    /// The default of the setting at `path`; `None` if there is no such setting.
    fn default(&self, path: &str) -> Option<&Value> {
        match path.split('.').collect::<Vec<_>>()[..] {
            ["dialects", name, setting] if !name.is_empty() => self.dialect.get(setting),
            _ => self.settings.get(path).filter(|_| path != "dialects"),
        }
    }

    /// Whether `path` is a section of settings.
    fn is_section(&self, path: &str) -> bool {
        let inside = format!("{path}.");
        path == "dialects"
            || path.strip_prefix("dialects.").is_some_and(|name| !name.contains('.'))
            || self.settings.keys().any(|known| known.starts_with(&inside))
    }

    /// The setting whose name is nearest to `path`.
    fn nearest(&self, path: &str) -> Option<String> {
        let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
        let dialect =
            path.strip_prefix("dialects.").and_then(|rest| rest.split('.').next()).unwrap_or("<name>");
        let dialects = self.dialect.keys().map(|setting| format!("dialects.{dialect}.{setting}"));
        let all = self.settings.keys().filter(|known| *known != "dialects").cloned().chain(dialects);
        // The whole path counts a little more than its last word, which many sections could share.
        let score = |known: &str| {
            let whole = strsim::jaro_winkler(known, path);
            whole.max(0.95 * strsim::jaro_winkler(&last(known), &last(path)))
        };
        let (best, alike) =
            all.map(|known| (score(&known), known)).fold((0.0, None), |best, (score, known)| {
                if score > best.0 { (score, Some(known)) } else { best }
            });
        alike.filter(|_| best >= ALIKE)
    }
}

/// Puts every value that is no object under its dotted path; an empty object counts as a value.
fn flatten(path: String, value: Value, leaves: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                flatten(if path.is_empty() { name } else { format!("{path}.{name}") }, value, leaves);
            }
        }
        leaf => drop(leaves.insert(path, leaf)),
    }
}

/// The settings of `file`, `environment` and `flags`, the later winning over the earlier.
///
/// # Errors
/// Everything that is wrong, a line each.
pub(super) fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: Vec<(&'static str, &'static str, Value)>,
) -> Result<Loaded, String> {
    let known = Known::new();
    let mut problems = Vec::new();
    let mut given: BTreeMap<String, (Value, Source)> = BTreeMap::new();
    if let Some(file) = file {
        read_file(file, &known, &mut given, &mut problems);
    }
    let passed_over = read_environment(environment, &known, &mut given, &mut problems);
    given.extend(flags.into_iter().map(|(path, flag, value)| (path.to_owned(), (value, Source::Flag(flag)))));
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    let settings = assemble(&known, &given)?;
    let source = |path: &str| given.get(path).map_or(Source::Default, |(_, source)| source.clone());
    super::check::check(&settings).map_err(|wrong| told(&wrong, source))?;
    let mut leaves = Map::new();
    flatten(String::new(), serde_json::to_value(&settings).map_err(|error| error.to_string())?, &mut leaves);
    let effective = leaves.into_iter().filter(|(path, _)| path != "dialects");
    let effective = effective
        .map(|(path, value)| {
            let source = source(&path);
            (path, value, source)
        })
        .collect();
    Ok(Loaded { settings, effective, passed_over })
}

fn read_file(
    path: &Path,
    known: &Known,
    given: &mut BTreeMap<String, (Value, Source)>,
    problems: &mut Vec<String>,
) {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            return problems.push(format!("the settings file {} does not read: {error}", path.display()));
        }
    };
    let (table, places) = match (toml::from_str::<toml::Table>(&text), toml::de::DeTable::parse(&text)) {
        (Ok(table), Ok(places)) => (table, places),
        (Err(error), _) | (_, Err(error)) => return problems.push(format!("{}: {error}", path.display())),
    };
    let mut entries = Vec::new();
    collect("", &table, places.get_ref(), known, &text, &mut entries);
    for (setting, value, line) in entries {
        let source = Source::File(path.to_owned(), line);
        if known.default(&setting).is_some() {
            given.insert(setting, (value, source));
        } else if known.is_section(&setting) {
            problems
                .push(format!("{source}: {setting:?} is a section: write [{setting}] and settings below it"));
        } else {
            let hint =
                known.nearest(&setting).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            problems.push(format!("{source}: there is no setting {setting:?}{hint}"));
        }
    }
}

/// Gathers what a table sets: path, value and line.
fn collect(
    path: &str,
    table: &toml::Table,
    places: &toml::de::DeTable<'_>,
    known: &Known,
    text: &str,
    entries: &mut Vec<(String, Value, usize)>,
) {
    for (name, value) in table {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let place = places.iter().find(|(key, _)| key.get_ref() == name);
        let line = place.map_or(1, |(key, _)| text[..key.span().start].matches('\n').count() + 1);
        match (value, place.and_then(|(_, value)| value.get_ref().as_table())) {
            (toml::Value::Table(inner), Some(places)) if known.is_section(&path) => {
                collect(&path, inner, places, known, text, entries);
            }
            (value, _) => entries.push((path, serde_json::to_value(value).unwrap_or(Value::Null), line)),
        }
    }
}

/// Reads what the environment sets; gives the variables that are no settings but of a Service.
fn read_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    known: &Known,
    given: &mut BTreeMap<String, (Value, Source)>,
    problems: &mut Vec<String>,
) -> Vec<String> {
    let mut passed_over = Vec::new();
    for (variable, text) in environment {
        // What is not ours may be any bytes.
        let variable = variable.to_string_lossy().into_owned();
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        // A variable set to nothing is how many environments say "not set".
        if OTHER_VARIABLES.contains(&variable.as_str()) || text.is_empty() {
            continue;
        }
        let Ok(text) = text.into_string() else {
            problems.push(format!("environment: the value of {variable} is not UTF-8"));
            continue;
        };
        let setting = name.to_lowercase().replace("__", ".");
        match known.default(&setting) {
            Some(default) => {
                let value = read_as(default, &text);
                given.insert(setting, (value, Source::Environment(variable)));
            }
            None if is_of_a_service(&variable, &text) => passed_over.push(variable),
            None => {
                let near = known
                    .nearest(&setting)
                    .map(|near| format!("{PREFIX}{}", near.to_uppercase().replace('.', "__")));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                problems.push(format!("environment: there is no setting {variable}{hint}"));
            }
        }
    }
    passed_over
}

/// Whether a variable is one of those by which Kubernetes tells every pod of a namespace of each Service there: of one that is
/// called `bellwether`, or `bellwether-…`, they begin as ours do.
fn is_of_a_service(variable: &str, value: &str) -> bool {
    let is_link = || ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    // PORT_8780_TCP, PORT_8780_TCP_ADDR
    let is_of_a_port = |rest: &str| {
        let mut words = rest.split('_');
        words.next().is_some_and(|port| port.parse::<u16>().is_ok())
            && words.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
    };
    variable.ends_with("_SERVICE_HOST")
        || variable.ends_with("_SERVICE_PORT")
        || variable.contains("_SERVICE_PORT_")
        || variable.ends_with("_PORT") && is_link()
        || variable.match_indices("_PORT_").any(|(at, word)| is_of_a_port(&variable[at + word.len()..]))
}

/// Text of the environment as the kind of value its setting's default is; what does not read stays text, and is
/// refused with the setting's name where the settings are assembled.
fn read_as(default: &Value, text: &str) -> Value {
    match default {
        // As in the file: nothing at all would say that it is not set.
        _ if text.trim() == "[]" => Value::Array(Vec::new()),
        Value::Number(_) => text.trim().parse::<u64>().map_or_else(|_| text.into(), Value::from),
        Value::Bool(_) => text.trim().parse::<bool>().map_or_else(|_| text.into(), Value::from),
        Value::Array(_) => text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
        _ => text.into(),
    }
}

/// The structs from what was given; what was not stays at its default.
fn assemble(known: &Known, given: &BTreeMap<String, (Value, Source)>) -> Result<Settings, String> {
    let mut tree = Value::Object(Map::new());
    for (path, (value, _)) in given {
        let mut place = &mut tree;
        for name in path.split('.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[name];
        }
        *place = value.clone();
    }
    serde_path_to_error::deserialize(&tree).map_err(|error| {
        let (path, message) = (error.path().to_string(), error.inner().to_string());
        let mut wrong = reading::field_error("the settings", &path, &message, |path| value_at(&tree, path));
        if let Some(expected) = expected(&message) {
            wrong.expected = expected;
        }
        let setting = path.split('[').next().unwrap_or_default();
        let source = given.get(setting).map_or(Source::Default, |(_, source)| source.clone());
        let default = match known.default(setting) {
            None | Some(Value::Null) => String::new(),
            Some(Value::Array(items)) if items.is_empty() => String::new(),
            Some(default) => format!("; the default is {default}"),
        };
        format!("{wrong}{default} ({source})")
    })
}

/// What is expected where serde says it by the name of a type of Rust's that tells more than "a whole number" does.
fn expected(message: &str) -> Option<String> {
    let (_, expected) = message.rsplit_once(", expected ")?;
    match expected {
        "u32" => Some(format!("a whole number from 0 to {}", u32::MAX)),
        "path string" => Some("a path, as a text".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(
        file: &str,
        environment: &[(&str, &str)],
        flags: Vec<(&'static str, &'static str, Value)>,
    ) -> Result<Loaded, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bellwether.toml");
        std::fs::write(&path, file).expect("written");
        load(
            Some(&path),
            environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))),
            flags,
        )
    }

    #[test]
    fn nothing_set_is_the_default() {
        let loaded = load(None, [], Vec::new()).expect("defaults");
        assert_eq!(loaded.settings, Settings::default());
        assert!(loaded.effective.iter().all(|(.., source)| *source == Source::Default));
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = "organisation = \"file\"\nstop_seconds = 1\n[log]\nfilter = \"warn\"\n";
        let environment = [("BELLWETHER_ORGANISATION", "environment"), ("BELLWETHER_LOG__FILTER", "info")];
        let loaded = with(file, &environment, vec![("log.filter", "--log-filter", json!("debug"))])
            .expect("good settings");
        assert_eq!(loaded.settings.stop_seconds, 1);
        assert_eq!(loaded.settings.organisation, "environment");
        assert_eq!(loaded.settings.log.filter, "debug");
        let source = |wanted: &str| {
            let found = loaded.effective.iter().find(|(path, ..)| path == wanted);
            found.map(|(.., source)| source.to_string()).unwrap_or_default()
        };
        assert!(source("stop_seconds").ends_with("bellwether.toml line 2"), "{}", source("stop_seconds"));
        assert_eq!(source("organisation"), "environment BELLWETHER_ORGANISATION");
        assert_eq!(source("log.filter"), "--log-filter");
        assert_eq!(source("data"), "default");
    }

    #[test]
    fn the_environment_reads_as_the_kind_its_setting_is() {
        let environment = [
            ("BELLWETHER_LISTEN", "127.0.0.1:1, [::1]:2"),
            ("BELLWETHER_STORE__WATERMARK_BYTES", "70000000"),
            ("BELLWETHER_PROXY__TRUSTED", "10.0.0.0/8,192.168.1.7"),
            ("BELLWETHER_EGRESS__PRIVATE_NETWORKS", "10.0.0.0/8, 192.168.1.7"),
            ("BELLWETHER_DIALECTS__THREATCONNECT__LISTEN", "127.0.0.1:3"),
            ("BELLWETHER_DIALECTS__THREATCONNECT__HOSTS", "tc.example.com"),
            ("BELLWETHER_TLS__CERTIFICATE", ""),
            ("BELLWETHER_EMAIL__SERVER", "mail.example.com"),
            ("BELLWETHER_EMAIL__FROM", "a@example.com"),
            ("BELLWETHER_EMAIL__PORT", "2525"),
            ("BELLWETHER_KEY", "bw_…"),
            ("HOME", "/"),
        ];
        let settings = with("", &environment, Vec::new()).expect("good settings").settings;
        assert_eq!(
            settings.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["127.0.0.1:1", "[::1]:2"]
        );
        assert_eq!(settings.store.watermark_bytes, 70_000_000);
        for networks in
            [&settings.proxy.trusted, settings.egress.private_networks.as_ref().expect("they are set")]
        {
            let networks: Vec<_> = networks.iter().map(|network| network.0.to_string()).collect();
            assert_eq!(networks, ["10.0.0.0/8", "192.168.1.7/32"]);
        }
        let unset = [("BELLWETHER_EGRESS__PRIVATE_NETWORKS", "")];
        let unset = with("", &unset, Vec::new()).expect("good settings").settings;
        assert_eq!(unset.egress.private_networks, None);
        assert_eq!(settings.dialects["threatconnect"].listen.map(|listen| listen.port()), Some(3));
        assert_eq!(settings.dialects["threatconnect"].hosts, ["tc.example.com"]);
        assert_eq!(settings.tls.certificate, None);
        assert_eq!(settings.email.port, Some(2525));
    }

    #[test]
    fn a_list_is_emptied_alike_in_the_file_and_in_the_environment() {
        let networks = ("BELLWETHER_EGRESS__PRIVATE_NETWORKS", "[]");
        let trusted = ("BELLWETHER_PROXY__TRUSTED", " [] ");
        let file = "proxy.trusted = [\"10.0.0.0/8\"]\negress.private_networks = [\"10.0.0.0/8\"]";
        for (file, environment) in [("egress.private_networks = []", &[][..]), (file, &[networks, trusted])] {
            let settings = with(file, environment, Vec::new()).expect("good settings").settings;
            assert_eq!(settings.egress.private_networks, Some(Vec::new()));
            assert_eq!(settings.proxy.trusted, Vec::new());
        }
        let refused = with("", &[("BELLWETHER_LISTEN", "[]")], Vec::new()).expect_err("no address");
        assert!(refused.contains("at least one address"), "{refused}");
    }

    #[test]
    fn what_kubernetes_tells_of_a_service_of_our_name_is_no_setting_and_is_told() {
        let of_services = [
            ("BELLWETHER_SERVICE_HOST", "10.96.0.7"),
            ("BELLWETHER_SERVICE_PORT", "8780"),
            ("BELLWETHER_SERVICE_PORT_HTTP", "8780"),
            ("BELLWETHER_PORT", "tcp://10.96.0.7:8780"),
            ("BELLWETHER_PORT_8780_TCP", "tcp://10.96.0.7:8780"),
            ("BELLWETHER_PORT_8780_TCP_PROTO", "tcp"),
            ("BELLWETHER_PORT_8780_TCP_PORT", "8780"),
            ("BELLWETHER_PORT_8780_TCP_ADDR", "10.96.0.7"),
            ("BELLWETHER_STATSD_SERVICE_HOST", "10.96.0.8"),
            ("BELLWETHER_STATSD_PORT", "udp://10.96.0.8:8125"),
            ("BELLWETHER_STATSD_PORT_8125_UDP_ADDR", "10.96.0.8"),
        ];
        let email = ("BELLWETHER_EMAIL__PORT", "2525");
        let server = "email.server = \"mail.example.com\"\nemail.from = \"a@example.com\"";
        let environment: Vec<_> = of_services.into_iter().chain([email]).collect();
        let loaded = with(server, &environment, Vec::new()).expect("good settings");
        assert_eq!(loaded.settings.email.port, Some(2525));
        assert_eq!(loaded.passed_over, of_services.map(|(variable, _)| variable));
        let told = loaded.passed_over_told().expect("it is told");
        assert!(of_services.iter().all(|(variable, _)| told.contains(variable)), "{told}");
        for (variable, value) in [
            ("BELLWETHER_PORT", "8780"),
            ("BELLWETHER_PORT_HTTP_TCP", "8780"),
            ("BELLWETHER_PORT_8780", "8780"),
            ("BELLWETHER_SERVICE", "10.96.0.7"),
        ] {
            let refused = with("", &[(variable, value)], Vec::new()).expect_err(variable);
            assert!(refused.contains(&format!("there is no setting {variable}")), "{refused}");
        }
        assert_eq!(with("", &[], Vec::new()).expect("good settings").passed_over_told(), None);
    }

    #[test]
    fn what_no_setting_is_called_is_refused_with_the_nearest_name() {
        for (file, environment, told) in [
            ("lissten = 1", None, vec!["line 1", "\"lissten\"", "\"listen\""]),
            (
                "[store]\n\nwatermark = 1",
                None,
                vec!["line 3", "\"store.watermark\"", "\"store.watermark_bytes\""],
            ),
            ("watermark_bytes = 1", None, vec!["\"store.watermark_bytes\""]),
            ("[stores]\ncache_bytes = 1", None, vec!["line 1", "\"stores\""]),
            ("store = 1", None, vec!["is a section"]),
            ("[dialects.tc]\nhost = \"a\"", None, vec!["\"dialects.tc.host\"", "\"dialects.tc.hosts\""]),
            ("", Some("BELLWETHER_LISSTEN"), vec!["BELLWETHER_LISSTEN", "did you mean BELLWETHER_LISTEN?"]),
            ("", Some("BELLWETHER_STORE_CACHE_BYTES"), vec!["did you mean BELLWETHER_STORE__CACHE_BYTES?"]),
            ("", Some("BELLWETHER_XYZZY"), vec!["BELLWETHER_XYZZY"]),
        ] {
            let environment: Vec<_> = environment.map(|name| (name, "1")).into_iter().collect();
            let refused = with(file, &environment, Vec::new()).expect_err(file);
            for part in told {
                assert!(refused.contains(part), "{part} is not in {refused}");
            }
        }
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_name_and_place_and_what_would_be_right() {
        let address = "expected an address with a port, such as 127.0.0.1:8780";
        let whole = "expected a whole number, not below 0; the default is";
        for (file, told) in [
            ("listen = \"everywhere\"", format!("listen is \"everywhere\", {address}")),
            ("listen = [\"[::]:1\", \"here\"]", format!("listen[1] is \"here\", {address}")),
            ("listen = 8780", format!("listen is \"8780\", {address}, or a list of such")),
            ("dialects.tc.listen = \"here\"", format!("dialects.tc.listen is \"here\", {address}")),
            ("store.cache_bytes = \"much\"", format!("store.cache_bytes is \"much\", {whole}")),
            ("stop_seconds = -1", format!("stop_seconds is \"-1\", {whole} 25")),
            ("stop_seconds = 1.5", format!("stop_seconds is \"1.5\", {whole} 25")),
            ("http.concurrent_requests = true", format!("http.concurrent_requests is \"true\", {whole}")),
            (
                "runs.keep_days = 5000000000",
                "runs.keep_days is \"5000000000\", expected a whole number from 0 to 4294967295".to_owned(),
            ),
            (
                "email.port = 70000",
                "email.port is \"70000\", expected a port, a whole number from 0 to 65535".to_owned(),
            ),
            (
                "series.acknowledge_before_sync = 1",
                "series.acknowledge_before_sync is \"1\", expected true or false".to_owned(),
            ),
            ("log.format = \"xml\"", "log.format is \"xml\", expected one of text, json".to_owned()),
            ("public_url = 1", "public_url is \"1\", expected a text".to_owned()),
            ("data = 1", "data is \"1\", expected a path, as a text".to_owned()),
            (
                "proxy.trusted = [\"10.0.0.0/8\", \"everyone\"]",
                "proxy.trusted[1] is \"everyone\", expected a network such as 10.0.0.0/8, or an address"
                    .to_owned(),
            ),
            ("plugins.limits.log_lines = \"x\"", format!("plugins.limits.log_lines is \"x\", {whole}")),
            ("store.cache_bytes = 255", "store.cache_bytes is \"255\", expected at least 65536".to_owned()),
            (
                "store.watermark_bytes = 1048576",
                "store.watermark_bytes is \"1048576\", expected at least 25165824, without".to_owned(),
            ),
            ("listen = [", String::new()),
        ] {
            let refused = with(file, &[], Vec::new()).expect_err(file);
            assert!(refused.contains(&told), "{told} is not in {refused}");
            assert!(refused.contains("line 1"), "{refused}");
            for word in ["usize", "u64", "u32", "u16", "variant", "integer", "boolean", "sequence", "syntax"]
            {
                assert!(!refused.contains(word), "{word} is a word of programmers: {refused}");
            }
        }
    }

    #[test]
    fn a_wrong_value_of_the_environment_is_named_by_its_variable() {
        for (variable, value, told) in [
            (
                "BELLWETHER_STORE__CACHE_BYTES",
                "much",
                "store.cache_bytes is \"much\", expected a whole number",
            ),
            (
                "BELLWETHER_LISTEN",
                "127.0.0.1:1,here",
                "listen[1] is \"here\", expected an address with a port",
            ),
            ("BELLWETHER_LOG__FORMAT", "xml", "log.format is \"xml\", expected one of text, json"),
            ("BELLWETHER_EMAIL__PORT", "smtp", "email.port is \"smtp\", expected a port"),
        ] {
            let refused = with("", &[(variable, value)], Vec::new()).expect_err(variable);
            assert!(refused.starts_with(told), "{told} is not the beginning of {refused}");
            assert!(refused.ends_with(&format!(" (environment {variable})")), "{refused}");
        }
    }

    #[test]
    fn what_is_no_text_in_the_environment_matters_only_in_a_setting() {
        use std::os::unix::ffi::OsStringExt as _;
        let latin = || OsString::from_vec(b"jos\xe9".to_vec());
        load(None, [("OLDPWD".into(), latin()), (latin(), "1".into())], Vec::new()).expect("good settings");
        let refused = load(None, [("BELLWETHER_DATA".into(), latin())], Vec::new()).expect_err("no text");
        assert_eq!(refused, "environment: the value of BELLWETHER_DATA is not UTF-8");
    }

    #[test]
    fn the_example_lists_every_setting_with_its_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/settings/bellwether.toml");
        let example = std::fs::read_to_string(path).expect("the example is there");
        // A setting without a default stands in a comment; with the `#` off, every line must still be a setting.
        let all: String = example
            .lines()
            .map(|line| {
                let setting =
                    line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.is_empty());
                format!("{}\n", setting.unwrap_or(line))
            })
            .collect();
        let loaded = with(&example, &[], Vec::new()).expect("the example is good as it stands");
        assert_eq!(loaded.settings, Settings::default());
        let known = Known::new();
        let mut entries = Vec::new();
        let table: toml::Table = toml::from_str(&all).expect("good without the #");
        let places = toml::de::DeTable::parse(&all).expect("good without the #");
        collect("", &table, places.get_ref(), &known, &all, &mut entries);
        let listed: std::collections::BTreeSet<_> = entries.into_iter().map(|(path, ..)| path).collect();
        let dialects = known.dialect.keys().map(|setting| format!("dialects.threatconnect.{setting}"));
        let wanted =
            known.settings.keys().filter(|path| *path != "dialects").cloned().chain(dialects).collect();
        assert_eq!(listed, wanted);
    }
}
