//! Which series are reports, threats and takedowns, and which of their tags say what.

use bellwether_sdk::{SettingError, Settings};

/// What an organisation can set. Values of tags are compared without regard to letter case.
#[derive(Clone, Debug, Settings)]
#[settings(check = check)]
pub(crate) struct Mapping {
    /// The metric whose samples count reports, each at the time it was filed.
    #[setting(default = "chainpatrol.reports")]
    pub(crate) reports_metric: String,
    /// The metric whose samples count threats, each at the time it was created.
    #[setting(default = "chainpatrol.threats")]
    pub(crate) threats_metric: String,
    /// The metric whose samples count takedowns, each at the time it was created.
    #[setting(default = "chainpatrol.takedowns")]
    pub(crate) takedowns_metric: String,
    /// The metric of a brand's threats, each at the time it was reviewed; the threats' own if not given.
    pub(crate) brand_threats_metric: Option<String>,
    /// The metric of a brand's takedowns, each at the time it was last updated; the takedowns' own if not given.
    pub(crate) brand_takedowns_metric: Option<String>,
    /// The key of the tag with a threat's or takedown's status.
    #[setting(default = "status")]
    pub(crate) status_tag: String,
    /// The key of the tag with a threat's asset type.
    #[setting(default = "type")]
    pub(crate) type_tag: String,
    /// The key of the tag with the slug of the brand.
    #[setting(default = "brand")]
    pub(crate) brand_tag: String,
    /// The key of the tag that marks what was deleted and is not to be counted.
    #[setting(default = "deleted")]
    pub(crate) deleted_tag: String,
    /// The values of that tag that say so.
    #[setting(default = texts(&["true"]))]
    pub(crate) deleted_values: Vec<String>,
    /// Statuses of threats that are blocked.
    #[setting(default = texts(&["BLOCKED", "APPROVED", "AUTO_APPROVED"]))]
    pub(crate) blocked_statuses: Vec<String>,
    /// Statuses of threats that are watchlisted.
    #[setting(default = texts(&["WATCHLISTED"]))]
    pub(crate) watchlisted_statuses: Vec<String>,
    /// Statuses of takedowns that count as filed; every one if empty.
    #[setting(default = texts(&[]))]
    pub(crate) filed_statuses: Vec<String>,
    /// Statuses of takedowns that are completed.
    #[setting(default = texts(&["COMPLETED"]))]
    pub(crate) completed_statuses: Vec<String>,
    /// Types that are domains.
    #[setting(default = texts(&["URL", "DOMAIN"]))]
    pub(crate) domain_types: Vec<String>,
    /// Types that are Twitter's.
    #[setting(default = texts(&["TWITTER"]))]
    pub(crate) twitter_types: Vec<String>,
    /// Types that are Telegram's; all other types are the others'.
    #[setting(default = texts(&["TELEGRAM"]))]
    pub(crate) telegram_types: Vec<String>,
    /// The flag `brands-metrics`: whether callers may ask for one brand.
    #[setting(default = false)]
    pub(crate) brands_metrics: bool,
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// Metrics and keys stand in queries as they are; a type can be of one kind only.
fn check(mapping: &Mapping) -> Result<(), SettingError> {
    let metrics = [
        ("reports_metric", Some(&mapping.reports_metric)),
        ("threats_metric", Some(&mapping.threats_metric)),
        ("takedowns_metric", Some(&mapping.takedowns_metric)),
        ("brand_threats_metric", mapping.brand_threats_metric.as_ref()),
        ("brand_takedowns_metric", mapping.brand_takedowns_metric.as_ref()),
    ];
    let tags = [
        ("status_tag", Some(&mapping.status_tag)),
        ("type_tag", Some(&mapping.type_tag)),
        ("brand_tag", Some(&mapping.brand_tag)),
        ("deleted_tag", Some(&mapping.deleted_tag)),
    ];
    for (name, word) in metrics.into_iter().chain(tags) {
        if let Some(word) = word.filter(|word| !is_word(word)) {
            let expected = "1 to 200 of A-Z, a-z, 0-9, _, ., - and /, a letter or _ first";
            return Err(SettingError::new(name, word, expected));
        }
    }
    for (at, (name, tag)) in tags.iter().enumerate() {
        if let Some((other, _)) = tags[..at].iter().find(|(_, other)| other == tag) {
            let tag = tag.map_or("", String::as_str);
            return Err(SettingError::new(*name, tag, format!("another key than {other}'s")));
        }
    }
    let kinds = [
        ("domain_types", &mapping.domain_types),
        ("twitter_types", &mapping.twitter_types),
        ("telegram_types", &mapping.telegram_types),
    ];
    for (at, (name, types)) in kinds.iter().enumerate() {
        for (other, others) in &kinds[..at] {
            if let Some(twice) = types.iter().find(|kind| is_one(others, kind)) {
                return Err(SettingError::new(*name, twice, format!("types that are not in {other} too")));
            }
        }
    }
    Ok(())
}

fn is_word(text: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    (1..=200).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(part)
}

/// Whether a tag's value is one of those that are listed.
pub(crate) fn is_one(listed: &[String], value: &str) -> bool {
    listed.iter().any(|listed| listed.eq_ignore_ascii_case(value))
}
