//! What the types of the settings cannot say.

use bellwether_engine::limits::COMPONENT;
use bellwether_kernel::FieldError;
use bellwether_store::LEAST_WATERMARK;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::{EmailSecurity, Settings};

/// The least the store's cache is: below, sled does not start.
const LEAST_CACHE: u64 = 64 * 1024;

/// Everything that is wrong with `settings`.
pub(super) fn check(settings: &Settings) -> Result<(), Vec<FieldError>> {
    let mut wrong = Vec::new();
    let mut expect = |right: bool, field: &str, value: &dyn std::fmt::Display, expected: &str| {
        if !right {
            wrong.push(FieldError::new(field, value, expected));
        }
    };
    expect(!settings.listen.is_empty(), "listen", &"", "at least one address with a port");
    for (field, number) in [
        ("http.body_limit_bytes", settings.http.body_limit_bytes),
        ("http.dialect_body_limit_bytes", settings.http.dialect_body_limit_bytes),
        ("http.component_limit_bytes", settings.http.component_limit_bytes),
        ("http.concurrent_requests", settings.http.concurrent_requests),
        ("metrics.samples_per_write", settings.metrics.samples_per_write),
        ("metrics.values_per_query", settings.metrics.values_per_query),
        ("series.samples_per_write", settings.series.samples_per_write),
        ("series.samples_in_memory", settings.series.samples_in_memory),
        ("plugins.versions", settings.plugins.versions),
        ("plugins.per_organisation", settings.plugins.per_organisation),
        ("playbooks.concurrent_runs", settings.playbooks.concurrent_runs),
        ("playbooks.queued_runs", settings.playbooks.queued_runs),
        ("playbooks.steps", settings.playbooks.steps),
        ("playbooks.payload_bytes", settings.playbooks.payload_bytes),
        ("playbooks.output_bytes", settings.playbooks.output_bytes),
        ("playbooks.items", settings.playbooks.items),
        ("playbooks.versions", settings.playbooks.versions),
        ("alerts.concurrent_evaluations", settings.alerts.concurrent_evaluations),
        ("deliveries.waiting", settings.deliveries.waiting),
    ] {
        expect(number > 0, field, &number, "at least 1");
    }
    for (field, number) in [
        ("http.request_seconds", settings.http.request_seconds),
        ("http.install_seconds", settings.http.install_seconds),
        ("http.idle_seconds", settings.http.idle_seconds),
        ("http.rate_burst", settings.http.rate_burst.into()),
        ("metrics.per_organisation", settings.metrics.per_organisation),
        ("metrics.keys_per_metric", settings.metrics.keys_per_metric),
        ("series.per_organisation", settings.series.per_organisation),
        ("records.records_per_search", settings.records.records_per_search),
        ("plugins.concurrent_calls", settings.plugins.concurrent_calls.into()),
        ("plugins.concurrent_large_calls", settings.plugins.concurrent_large_calls.into()),
        ("playbooks.step_seconds", settings.playbooks.step_seconds),
        ("playbooks.run_seconds", settings.playbooks.run_seconds),
        ("alerts.per_organisation", settings.alerts.per_organisation),
    ] {
        expect(number > 0, field, &number, "at least 1");
    }
    let component = settings.http.component_limit_bytes;
    expect(
        component <= COMPONENT,
        "http.component_limit_bytes",
        &component,
        &format!("at most {COMPONENT}, the largest component that is loaded"),
    );
    let cache = settings.store.cache_bytes;
    expect(cache >= LEAST_CACHE, "store.cache_bytes", &cache, &format!("at least {LEAST_CACHE}"));
    let watermark = settings.store.watermark_bytes;
    expect(
        watermark >= LEAST_WATERMARK,
        "store.watermark_bytes",
        &watermark,
        &format!("at least {LEAST_WATERMARK}, without which the store may not open again on a full disk"),
    );
    let (certificate, key) = (&settings.tls.certificate, &settings.tls.key);
    expect(certificate.is_some() || key.is_none(), "tls.certificate", &"", "a file, as there is a tls.key");
    expect(key.is_some() || certificate.is_none(), "tls.key", &"", "a file, as there is a tls.certificate");
    let header = &settings.proxy.original_uri_header;
    let is_name = http::HeaderName::try_from(header).is_ok();
    expect(is_name, "proxy.original_uri_header", header, "a header's name, such as x-original-uri");
    let email = &settings.email;
    let sends = email.server.is_some();
    expect(
        email.from.is_some() || !sends,
        "email.from",
        &"",
        "the sender's address, as there is an email.server",
    );
    let set = [
        ("from", email.from.is_some()),
        ("port", email.port.is_some()),
        ("security", email.security != EmailSecurity::Starttls),
        ("user", email.user.is_some()),
        ("password_file", email.password_file.is_some()),
        ("trusted_certificate", email.trusted_certificate.is_some()),
    ];
    if let Some((name, _)) = set.into_iter().find(|(_, is_set)| *is_set) {
        expect(sends, "email.server", &"", &format!("a mail server, as there is an email.{name}"));
    }
    let (user, password) = (email.user.is_some(), email.password_file.is_some());
    expect(user || !password, "email.user", &"", "a user, as there is an email.password_file");
    expect(password || !user, "email.password_file", &"", "a file, as there is an email.user");
    let is_url = |url: &str| {
        let read = reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        read.is_some_and(|url| url.query().is_none() && url.fragment().is_none())
    };
    if let Some(url) = &settings.public_url {
        expect(is_url(url), "public_url", url, "a URL such as https://bellwether.example.com");
    }
    if let Some(url) = &settings.traces.endpoint {
        expect(is_url(url), "traces.endpoint", url, "a URL such as http://127.0.0.1:4318/v1/traces");
    }
    for (field, filter) in [("log.filter", &settings.log.filter), ("traces.filter", &settings.traces.filter)]
    {
        expect(
            is_filter(filter),
            field,
            filter,
            "levels (off, error, warn, info, debug, trace), each alone or behind a target: info, or \
             warn,bellwether_front=debug",
        );
    }
    let (mut addresses, mut hosts) = (settings.listen.clone(), Vec::new());
    for (name, dialect) in &settings.dialects {
        if let Some(address) = dialect.listen {
            let field = format!("dialects.{name}.listen");
            expect(!addresses.contains(&address), &field, &address, "an address nothing else listens on");
            addresses.push(address);
        }
        for host in &dialect.hosts {
            let field = format!("dialects.{name}.hosts");
            let (read, lower) = (reqwest::Url::parse(&format!("http://{host}")), host.to_ascii_lowercase());
            let is_name = read.is_ok_and(|url| url.host_str() == Some(&*lower));
            expect(is_name, &field, host, "a host's name or address, such as metrics.example.com");
            expect(!hosts.contains(&lower), &field, host, "a host that is no other dialect's");
            hosts.push(lower);
        }
    }
    wrong.extend(email.from.as_ref().and_then(|from| bellwether_mail::check_sender(from).err()));
    let named = bellwether_access::check_organisation_name(&settings.organisation);
    wrong.extend(named.err().map(|error| FieldError { field: "organisation".to_owned(), ..error }));
    wrong.extend(settings.plugins.limits.check_as(|name| format!("plugins.limits.{name}")));
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Whether every directive has a level. A word that is none would be read as a target, and a typo would end all of the log.
fn is_filter(text: &str) -> bool {
    let levels = text.split(',').map(|directive| directive.rsplit('=').next().unwrap_or_default());
    EnvFilter::try_new(text).is_ok()
        && levels.map(str::trim).all(|level| level.parse::<LevelFilter>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Dialect, Email};

    #[test]
    fn the_defaults_are_right() {
        assert_eq!(check(&Settings::default()), Ok(()));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        type Change = fn(&mut Settings);
        let changes: [(&str, Change); 23] = [
            ("listen", |settings| settings.listen.clear()),
            ("http.body_limit_bytes", |settings| settings.http.body_limit_bytes = 0),
            ("http.dialect_body_limit_bytes", |settings| settings.http.dialect_body_limit_bytes = 0),
            ("store.cache_bytes", |settings| settings.store.cache_bytes = 255),
            ("organisation", |settings| settings.organisation = "A b".to_owned()),
            ("plugins.limits.memory_bytes", |settings| settings.plugins.limits.memory_bytes = Some(u64::MAX)),
            ("tls.key", |settings| settings.tls.certificate = Some("a".into())),
            ("tls.certificate", |settings| settings.tls.key = Some("a".into())),
            ("public_url", |settings| settings.public_url = Some("example.com".to_owned())),
            ("traces.endpoint", |settings| settings.traces.endpoint = Some("collector".to_owned())),
            ("email.from", |settings| settings.email.server = Some("mail.example.com".to_owned())),
            ("email.from", |settings| {
                settings.email.server = Some("mail.example.com".to_owned());
                settings.email.from = Some("nobody".to_owned());
            }),
            ("dialects.datadog.listen", |settings| {
                let listen = settings.listen.first().copied();
                settings.dialects.insert("datadog".to_owned(), Dialect { listen, ..Dialect::default() });
            }),
            ("dialects.prometheus.hosts", |settings| {
                for (name, host) in
                    [("datadog", "metrics.example.com"), ("prometheus", "Metrics.example.com")]
                {
                    let hosts = vec![host.to_owned()];
                    settings.dialects.insert(name.to_owned(), Dialect { hosts, ..Dialect::default() });
                }
            }),
            ("dialects.prometheus.hosts", |settings| {
                let hosts = vec!["metrics .example.com".to_owned()];
                settings.dialects.insert("prometheus".to_owned(), Dialect { hosts, ..Dialect::default() });
            }),
            ("proxy.original_uri_header", |settings| {
                settings.proxy.original_uri_header = "bad header".to_owned();
            }),
            ("email.password_file", |settings| {
                settings.email = sending();
                settings.email.user = Some("me".to_owned());
            }),
            ("email.user", |settings| {
                settings.email = sending();
                settings.email.password_file = Some("a".into());
            }),
            ("http.idle_seconds", |settings| settings.http.idle_seconds = 0),
            ("http.component_limit_bytes", |settings| settings.http.component_limit_bytes = COMPONENT + 1),
            ("log.filter", |settings| settings.log.filter = "info=info=info".to_owned()),
            ("log.filter", |settings| settings.log.filter = "inof".to_owned()),
            ("traces.filter", |settings| settings.traces.filter = "bellwether_front".to_owned()),
        ];
        for (field, change) in changes {
            let mut settings = Settings::default();
            change(&mut settings);
            let wrong = check(&settings).expect_err(field);
            assert_eq!(wrong.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), [field]);
        }
    }

    fn sending() -> Email {
        let (server, from) = (Some("mail.example.com".to_owned()), Some("a@example.com".to_owned()));
        Email { server, from, ..Email::default() }
    }

    #[test]
    fn whatever_is_set_of_email_needs_a_server_to_send_by() {
        type Sets = fn(&mut Email);
        let all: [(&str, Sets); 6] = [
            ("from", |email| email.from = Some("a@example.com".to_owned())),
            ("port", |email| email.port = Some(2525)),
            ("security", |email| email.security = EmailSecurity::Tls),
            ("user", |email| {
                email.user = Some("me".to_owned());
                email.password_file = Some("a".into());
            }),
            ("trusted_certificate", |email| email.trusted_certificate = Some("a.pem".into())),
            ("password_file", |email| email.password_file = Some("a".into())),
        ];
        for (name, set) in all {
            let mut settings = Settings::default();
            set(&mut settings.email);
            let wrong = check(&settings).expect_err(name);
            let told = wrong.iter().find(|error| error.field == "email.server").expect(name);
            assert_eq!(told.expected, format!("a mail server, as there is an email.{name}"));
            settings.email = sending();
            set(&mut settings.email);
            let left = check(&settings).err().unwrap_or_default();
            assert!(left.iter().all(|error| error.field != "email.server"), "{left:?}");
        }
    }

    #[test]
    fn a_filter_is_levels_alone_or_behind_targets() {
        for right in
            ["off", "INFO", "warn,bellwether_front=debug", "info,hyper=off,bellwether::x[span{a=b}]=trace"]
        {
            assert!(is_filter(right), "{right}");
        }
    }
}
