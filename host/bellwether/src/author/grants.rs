//! What a plugin is granted while its author tries it.

use bellwether_plugins::{Grant, Inspection, Privilege, ScopeKind};

use crate::failure::Failure;

/// How far a privilege goes that no grant was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// All the metrics and monitors of a host in memory are the trial's own.
    AllMetrics,
    /// On a real host, only what has no scope.
    Unscoped,
    /// Nothing is called, so it does not matter.
    Anything,
}

/// A grant for each privilege a component asks for: the one given for it, or else one as wide as `otherwise` allows.
///
/// # Errors
/// [`Failure::Usage`] if one is missing that has a scope, or one is given that is not asked for, or twice.
pub(super) fn complete(
    inspection: &Inspection,
    given: &[Grant],
    otherwise: Otherwise,
) -> Result<Vec<Grant>, Failure> {
    check_asked(inspection, given)?;
    let mut missing = Vec::new();
    let mut grants = Vec::new();
    for request in &inspection.requests {
        match given.iter().find(|grant| grant.privilege() == request.privilege) {
            Some(grant) => grants.push(grant.clone()),
            None => match widest(request.privilege, otherwise) {
                Some(grant) => grants.push(grant),
                None => missing.push(format!("--grant '{}'", request.example)),
            },
        }
    }
    if missing.is_empty() {
        // What it can do without, it is given only if that was said.
        let optional: Vec<_> = inspection.optional.iter().map(|request| request.privilege).collect();
        grants.extend(given.iter().filter(|grant| optional.contains(&grant.privilege())).cloned());
        return Ok(grants);
    }
    let name = inspection.name.as_deref().unwrap_or("the plugin");
    Err(Failure::Usage(format!(
        "{name} asks for what has a scope: add {}, with a scope of its own",
        missing.join(" ")
    )))
}

/// Whether each grant is of a privilege the component asks for, and the only one of it.
///
/// # Errors
/// [`Failure::Usage`] if not.
pub(super) fn check_asked(inspection: &Inspection, given: &[Grant]) -> Result<(), Failure> {
    let name = inspection.name.as_deref().unwrap_or("the plugin");
    let asked = || inspection.requests.iter().chain(&inspection.optional);
    for (number, grant) in given.iter().enumerate() {
        let privilege = grant.privilege();
        if given[..number].iter().any(|before| before.privilege() == privilege) {
            let told = format!("{privilege} is granted twice: name all of its scope in one --grant");
            return Err(Failure::Usage(told));
        }
        if asked().all(|request| request.privilege != privilege) {
            let asks: Vec<_> = asked().map(|request| request.privilege.interface()).collect();
            let asks = if asks.is_empty() { "nothing".to_owned() } else { asks.join(", ") };
            return Err(Failure::Usage(format!(
                "--grant {grant:?}: {name} does not ask for {privilege}; it asks for {asks}",
                grant = grant.to_string()
            )));
        }
    }
    Ok(())
}

fn widest(privilege: Privilege, otherwise: Otherwise) -> Option<Grant> {
    let text = match (privilege.scope(), otherwise) {
        (ScopeKind::None | ScopeKind::Quota, _) => privilege.interface().to_owned(),
        (ScopeKind::Metrics | ScopeKind::Monitors, Otherwise::AllMetrics | Otherwise::Anything) => {
            format!("{privilege}=*")
        }
        (ScopeKind::Kinds, Otherwise::AllMetrics | Otherwise::Anything) => format!("{privilege}=events,logs"),
        (ScopeKind::Hosts, Otherwise::Anything) => format!("{privilege}=https://nowhere.invalid"),
        _ => return None,
    };
    Some(text.parse().expect("a privilege with a scope of its kind is a grant"))
}

#[cfg(test)]
mod tests {
    use bellwether_plugins::Request;
    use bellwether_store::Digest;

    use super::*;

    fn asking(privileges: &[Privilege]) -> Inspection {
        Inspection {
            name: Some("probe".to_owned()),
            version: None,
            description: None,
            contract: None,
            roles: Vec::new(),
            requests: privileges.iter().copied().map(Request::from).collect(),
            optional: vec![Request::from(Privilege::Random)],
            baseline: Vec::new(),
            problems: Vec::new(),
            digest: Digest::of(b""),
            size: 0,
        }
    }

    #[test]
    fn what_is_given_holds_and_what_has_no_scope_is_added() {
        let given: Vec<Grant> = vec!["metrics-write=web.*".parse().unwrap()];
        let asking = asking(&[Privilege::Log, Privilege::MetricsWrite]);
        let grants = complete(&asking, &given, Otherwise::Unscoped).unwrap();
        let grants: Vec<String> = grants.iter().map(ToString::to_string).collect();
        assert_eq!(grants, ["log", "metrics-write=web.*"]);
    }

    #[test]
    fn what_it_does_without_is_given_only_when_said() {
        let grants = |given: &[Grant]| complete(&asking(&[]), given, Otherwise::AllMetrics).unwrap();
        assert_eq!(grants(&[]), []);
        assert_eq!(grants(&[Grant::Random {}]), [Grant::Random {}]);
    }

    #[test]
    fn what_is_not_asked_for_or_given_twice_is_refused() {
        let refused = |given: &[&str]| {
            let given: Vec<Grant> = given.iter().map(|grant| grant.parse().unwrap()).collect();
            let asking = asking(&[Privilege::MetricsRead]);
            match complete(&asking, &given, Otherwise::AllMetrics) {
                Err(Failure::Usage(told)) => told,
                other => panic!("{other:?}"),
            }
        };
        let told = refused(&["metrics-write=web.*"]);
        assert!(
            told.contains("metrics-write=web.*") && told.contains("asks for metrics-read, random"),
            "{told}"
        );
        assert!(refused(&["metrics-read=a", "metrics-read=b"]).contains("twice"));
    }

    #[test]
    fn on_a_real_host_a_scope_is_for_the_author_to_say() {
        let asking = asking(&[Privilege::MetricsRead, Privilege::HttpClient]);
        let Err(Failure::Usage(message)) = complete(&asking, &[], Otherwise::Unscoped) else { panic!() };
        assert!(
            message.contains("--grant 'metrics-read=web.*'") && message.contains("http-client"),
            "{message}"
        );
        let Err(Failure::Usage(message)) = complete(&asking, &[], Otherwise::AllMetrics) else { panic!() };
        assert!(!message.contains("metrics-read") && message.contains("http-client"), "{message}");
        assert_eq!(complete(&asking, &[], Otherwise::Anything).unwrap().len(), 2);
    }
}
