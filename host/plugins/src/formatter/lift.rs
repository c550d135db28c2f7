//! What a formatter says to do next, held against what the host can send.

use bellwether_alerts::{
    Basic, Email, Encoding, Grant, Hash, Header, Hmac, HttpRequest, KeyEncoding, MessagePart, OAuth,
    Outgoing, Part, SecretEncoding, Signing, Sigv4, Step, TimeFormat, limits,
};
use http::{HeaderName, HeaderValue, Uri, header};

use crate::bindings::exports::bellwether::plugin::formatter as wit;
use crate::value::one_line;

/// Which secrets the channel has.
type Known<'a> = &'a dyn Fn(&str) -> bool;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Headers that are the host's to set: they speak about the connection or the message's framing.
const RESERVED: [HeaderName; 8] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// A step, if the host can take it.
pub(super) fn step(given: wit::Step, known: Known<'_>) -> Result<Step, String> {
    Ok(match given {
        wit::Step::Send(wit::Sending { outgoing, memory }) => Step::Send {
            outgoing: match outgoing {
                wit::Outgoing::Http(request) => Outgoing::Http(http_request(request, known)?),
                wit::Outgoing::Email(given) => Outgoing::Email(email(given)?),
            },
            memory: kept(memory)?,
        },
        wit::Step::Done(memory) => Step::Done { memory: kept(memory)? },
        wit::Step::Retry(retry) => Step::Retry { after: retry.after, reason: one_line(retry.reason) },
        wit::Step::Fail(reason) => Step::Fail { reason: one_line(reason) },
        wit::Step::Gone(reason) => Step::Gone { reason: one_line(reason) },
    })
}

fn kept(memory: Vec<u8>) -> Result<Vec<u8>, String> {
    if memory.len() > limits::MEMORY {
        return Err(format!("its memory has {} bytes, at most {} are kept", memory.len(), limits::MEMORY));
    }
    Ok(memory)
}

fn http_request(given: wit::HttpRequest, known: Known<'_>) -> Result<HttpRequest, String> {
    if !METHODS.contains(&given.method.as_str()) {
        return Err(format!(
            "its request's method is {:?}, expected one of {}",
            given.method,
            METHODS.join(", ")
        ));
    }
    if given.headers.len() > limits::HEADERS {
        let count = given.headers.len();
        return Err(format!("its request has {count} headers, at most {} are sent", limits::HEADERS));
    }
    let url = parts("url", given.url, known)?;
    check_url(&url)?;
    let mut names: Vec<HeaderName> = Vec::with_capacity(given.headers.len());
    let mut headers = Vec::with_capacity(given.headers.len());
    for header in given.headers {
        names.push(header_name(&header.name)?);
        let value = parts(&format!("header {}", header.name), header.value, known)?;
        let texts =
            value.iter().filter_map(|part| if let Part::Text(text) = part { Some(text) } else { None });
        for text in texts {
            HeaderValue::try_from(text).map_err(|_| {
                format!("its request's header {} is {text:?}, which holds control characters", header.name)
            })?;
        }
        headers.push(Header { name: header.name, value });
    }
    let body = parts("body", given.body, known)?;
    let size = size(&url) + size(&body) + headers.iter().map(|header| size(&header.value)).sum::<usize>();
    if size > limits::REQUEST {
        return Err(format!("its request has {size} bytes, at most {} are sent", limits::REQUEST));
    }
    if given.signing.len() > limits::SIGNINGS {
        return Err(format!(
            "its request is signed {} times, at most {}",
            given.signing.len(),
            limits::SIGNINGS
        ));
    }
    let signing = given.signing.into_iter().map(|given| signing(given, &mut names, known));
    let signing = signing.collect::<Result<_, _>>()?;
    Ok(HttpRequest { method: given.method, url, headers, body, signing })
}

/// The name of a header a formatter may set.
fn header_name(name: &str) -> Result<HeaderName, String> {
    let read = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("its request has a header named {name:?}, which is no header's name"))?;
    if RESERVED.contains(&read) {
        return Err(format!("its request has the header {read}, which is the host's to set"));
    }
    Ok(read)
}

fn parts(place: &str, given: Vec<wit::Part>, known: Known<'_>) -> Result<Vec<Part>, String> {
    if given.len() > limits::PARTS {
        return Err(format!("its {place} has {} parts, at most {}", given.len(), limits::PARTS));
    }
    let part = |part| {
        Ok(match part {
            wit::Part::Text(text) => Part::Text(text),
            wit::Part::Secret((name, encoding)) => {
                let encoding = match encoding {
                    wit::SecretEncoding::Plain => SecretEncoding::Plain,
                    wit::SecretEncoding::Base64 => SecretEncoding::Base64,
                    wit::SecretEncoding::Percent => SecretEncoding::Percent,
                    wit::SecretEncoding::Json => SecretEncoding::Json,
                };
                Part::Secret(secret(place, name, known)?, encoding)
            }
            wit::Part::Now(format) => Part::Now(match format {
                wit::TimeFormat::UnixSeconds => TimeFormat::UnixSeconds,
                wit::TimeFormat::UnixMilliseconds => TimeFormat::UnixMilliseconds,
                wit::TimeFormat::Rfc3339 => TimeFormat::Rfc3339,
            }),
        })
    };
    given.into_iter().map(part).collect()
}

/// The name of a secret the channel has.
fn secret(place: &str, name: String, known: Known<'_>) -> Result<String, String> {
    if known(&name) {
        return Ok(name);
    }
    Err(format!(
        "its {place} names the secret {name:?}, which this channel was not given as a secret setting"
    ))
}

fn size(parts: &[Part]) -> usize {
    let bytes = |part: &Part| if let Part::Text(text) = part { text.len() } else { 0 };
    parts.iter().map(bytes).sum()
}

/// Characters of a wrong URL that are told.
const SHOWN: usize = 100;

/// Whether a text is a URL, or becomes one with its secrets. The host it goes to is known before they are filled in,
/// or is a secret's altogether: a secret must not decide where another one goes.
fn check_url(parts: &[Part]) -> Result<(), String> {
    let wrong = |why: &str| {
        let shown: String = bellwether_alerts::shown(parts).chars().take(SHOWN).collect();
        Err(format!("its request's url is {shown:?}: {why}"))
    };
    let mut texts =
        parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text) } else { None });
    if texts.any(|text| text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'#')) {
        return wrong("spaces, control characters and # have no place in it");
    }
    let leading: String = parts
        .iter()
        .map_while(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None })
        .collect();
    if leading.is_empty() {
        return match parts.first() {
            // Such as the URL of an incoming webhook, which is a secret by itself.
            Some(Part::Secret(_, SecretEncoding::Plain)) => Ok(()),
            _ => wrong("it is to begin with https:// and a host, or to be a secret as it is"),
        };
    }
    let Some(rest) = leading.strip_prefix("https://").or_else(|| leading.strip_prefix("http://")) else {
        return wrong("it is to begin with https://, or http:// where the operator lets it");
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.len() == rest.len() && parts.iter().any(|part| !matches!(part, Part::Text(_))) {
        return wrong("the host is to be whole before a secret follows");
    }
    if authority.contains('@') {
        return wrong("a name and password go into the signing directive basic, not before the host");
    }
    match leading.parse::<Uri>() {
        Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(()),
        _ => wrong("it does not read as a URL with a host"),
    }
}

/// Signs after the headers of `names` are there, and adds the one it sets.
fn signing(given: wit::Signing, names: &mut Vec<HeaderName>, known: Known<'_>) -> Result<Signing, String> {
    let sets = match &given {
        wit::Signing::Hmac(hmac) => header_name(&hmac.header)?,
        wit::Signing::Basic(_) | wit::Signing::Sigv4(_) | wit::Signing::Oauth(_) => header::AUTHORIZATION,
    };
    if names.contains(&sets) {
        return Err(format!("its request has the header {sets} already, which its signing sets"));
    }
    let signing = match given {
        wit::Signing::Basic(basic) => Signing::Basic(Basic {
            user: parts("signing.basic.user", basic.user, known)?,
            password: parts("signing.basic.password", basic.password, known)?,
        }),
        wit::Signing::Hmac(given) => Signing::Hmac(hmac(given, names, known)?),
        wit::Signing::Sigv4(given) => {
            for (name, text) in [("region", &given.region), ("service", &given.service)] {
                let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                if text.is_empty() || !text.bytes().all(word) {
                    return Err(format!("its signing.sigv4.{name} is {text:?}, expected one such as sns"));
                }
            }
            Signing::Sigv4(Sigv4 {
                access_key: parts("signing.sigv4.access-key", given.access_key, known)?,
                secret_key: secret("signing.sigv4.secret-key", given.secret_key, known)?,
                session_token: given
                    .session_token
                    .map(|name| secret("signing.sigv4.session-token", name, known))
                    .transpose()?,
                region: given.region,
                service: given.service,
            })
        }
        wit::Signing::Oauth(given) => Signing::Oauth(oauth(given, known)?),
    };
    names.push(sets);
    Ok(signing)
}

fn hmac(given: wit::Hmac, names: &[HeaderName], known: Known<'_>) -> Result<Hmac, String> {
    if HeaderValue::try_from(&given.prefix).is_err() {
        return Err(format!("its signing.hmac.prefix is {:?}, which no header can hold", given.prefix));
    }
    if given.message.is_empty() || given.message.len() > limits::PARTS {
        let count = given.message.len();
        return Err(format!("its signing.hmac.message has {count} parts, expected 1 to {}", limits::PARTS));
    }
    let part = |part| {
        Ok(match part {
            wit::MessagePart::Literal(text) => MessagePart::Literal(text),
            wit::MessagePart::Method => MessagePart::Method,
            wit::MessagePart::RequestTarget => MessagePart::RequestTarget,
            wit::MessagePart::Header(name) => {
                let there = names.iter().any(|there| there.as_str().eq_ignore_ascii_case(&name));
                if !there {
                    return Err(format!(
                        "its signing.hmac.message holds the header {name:?}, which the request has not"
                    ));
                }
                MessagePart::Header(name)
            }
            wit::MessagePart::Body => MessagePart::Body,
        })
    };
    Ok(Hmac {
        secret: secret("signing.hmac.secret", given.secret, known)?,
        secret_prefix: given.secret_prefix,
        key_encoding: match given.key_encoding {
            wit::KeyEncoding::Plain => KeyEncoding::Plain,
            wit::KeyEncoding::Base64 => KeyEncoding::Base64,
            wit::KeyEncoding::Hex => KeyEncoding::Hex,
        },
        hash: match given.hash {
            wit::Hash::Sha1 => Hash::Sha1,
            wit::Hash::Sha256 => Hash::Sha256,
            wit::Hash::Sha512 => Hash::Sha512,
        },
        message: given.message.into_iter().map(part).collect::<Result<_, String>>()?,
        header: given.header,
        prefix: given.prefix,
        encoding: match given.encoding {
            wit::Encoding::Base64 => Encoding::Base64,
            wit::Encoding::Hex => Encoding::Hex,
        },
    })
}

fn oauth(given: wit::Oauth, known: Known<'_>) -> Result<OAuth, String> {
    let token_url = parts("signing.oauth.token-url", given.token_url, known)?;
    check_url(&token_url)?;
    Ok(OAuth {
        token_url,
        grant: match given.grant {
            wit::Grant::ClientCredentials => Grant::ClientCredentials,
            wit::Grant::RefreshToken(name) => {
                Grant::RefreshToken(secret("signing.oauth.grant.refresh-token", name, known)?)
            }
            wit::Grant::Password((user, name)) => Grant::Password(
                parts("signing.oauth.grant.password", user, known)?,
                secret("signing.oauth.grant.password", name, known)?,
            ),
        },
        client_id: parts("signing.oauth.client-id", given.client_id, known)?,
        client_secret: given
            .client_secret
            .map(|name| secret("signing.oauth.client-secret", name, known))
            .transpose()?,
        scope: given.scope,
        audience: given.audience,
    })
}

fn email(given: wit::Email) -> Result<Email, String> {
    let wit::Email { to, cc, reply_to, subject, text, html } = given;
    let recipients = to.len() + cc.len();
    if to.is_empty() || recipients > limits::RECIPIENTS {
        return Err(format!(
            "its e-mail goes to {recipients}, expected 1 to {}, one of them in `to`",
            limits::RECIPIENTS
        ));
    }
    for address in to.iter().chain(&cc).chain(&reply_to) {
        let good = address.len() <= 254
            && address.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
            && address.chars().all(|character| !character.is_whitespace() && !character.is_control())
            && !address.contains(['<', '>', ',', ';']);
        if !good {
            return Err(format!("its e-mail names {address:?}, which is no address"));
        }
    }
    if subject.chars().count() > limits::SUBJECT || subject.chars().any(char::is_control) {
        let expected = format!("at most {} characters, none of them control characters", limits::SUBJECT);
        return Err(format!("its e-mail's subject is {:?}, expected {expected}", one_line(subject)));
    }
    let size = text.len() + html.as_ref().map_or(0, String::len);
    if size > limits::REQUEST {
        return Err(format!("its e-mail has {size} bytes, at most {} are sent", limits::REQUEST));
    }
    Ok(Email { to, cc, reply_to, subject, text, html })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<wit::Part> {
        vec![wit::Part::Text(text.to_owned())]
    }

    fn secret_part(name: &str) -> wit::Part {
        wit::Part::Secret((name.to_owned(), wit::SecretEncoding::Plain))
    }

    fn request(url: Vec<wit::Part>) -> wit::HttpRequest {
        wit::HttpRequest {
            method: "POST".to_owned(),
            url,
            headers: Vec::new(),
            body: text("{}"),
            signing: Vec::new(),
        }
    }

    fn hmac_over(message: Vec<wit::MessagePart>, header: &str, secret: &str) -> wit::Signing {
        wit::Signing::Hmac(wit::Hmac {
            secret: secret.to_owned(),
            secret_prefix: String::new(),
            key_encoding: wit::KeyEncoding::Plain,
            hash: wit::Hash::Sha256,
            message,
            header: header.to_owned(),
            prefix: "sha256=".to_owned(),
            encoding: wit::Encoding::Hex,
        })
    }

    fn lifted(request: wit::HttpRequest) -> Result<HttpRequest, String> {
        http_request(request, &|name| name == "key")
    }

    #[test]
    fn a_request_the_host_can_send_passes_as_it_is() {
        let mut given = request(vec![
            wit::Part::Text("https://api.example:8443/bot".to_owned()),
            secret_part("key"),
            wit::Part::Text("/send?now=".to_owned()),
            wit::Part::Now(wit::TimeFormat::UnixSeconds),
        ]);
        given.headers = vec![wit::Header { name: "X-Id".to_owned(), value: text("häuser") }];
        let message = vec![wit::MessagePart::Header("x-id".to_owned()), wit::MessagePart::Body];
        given.signing = vec![hmac_over(message, "X-Signature", "key")];
        let sent = lifted(given).expect("it is one");
        assert_eq!(
            bellwether_alerts::shown(&sent.url),
            "https://api.example:8443/bot‹secret key›/send?now=‹now as unix-seconds›"
        );
        // A whole URL may be a secret.
        assert!(lifted(request(vec![secret_part("key")])).is_ok());
    }

    #[test]
    fn a_url_that_is_none_or_whose_host_a_secret_decides_is_refused() {
        for (url, expected) in [
            (text(""), "to begin with https:// and a host"),
            (text("ftp://a.example"), "to begin with https://"),
            (text("https://"), "does not read as a URL"),
            (text("https://a.example/a b"), "spaces"),
            (text("https://a.example/#a"), "spaces, control characters and #"),
            (text("https://me:pw@a.example/"), "signing directive basic"),
            (vec![wit::Part::Text("https://a.".to_owned()), secret_part("key")], "the host is to be whole"),
            (vec![wit::Part::Now(wit::TimeFormat::Rfc3339)], "to begin with https:// and a host"),
            (vec![secret_part("other")], "names the secret \"other\""),
        ] {
            let problem = lifted(request(url)).expect_err(expected);
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_is_named() {
        let base = || request(text("https://a.example/"));
        let header = |name: &str, value: &str| wit::Header { name: name.to_owned(), value: text(value) };
        let basic =
            || wit::Signing::Basic(wit::Basic { user: text("me"), password: vec![secret_part("key")] });
        let body = || vec![wit::MessagePart::Body];
        for (given, expected) in [
            (wit::HttpRequest { method: "post".to_owned(), ..base() }, "method is \"post\""),
            (wit::HttpRequest { headers: vec![header("a b", "")], ..base() }, "no header's name"),
            (
                wit::HttpRequest { headers: vec![header("Host", "b")], ..base() },
                "host, which is the host's to set",
            ),
            (wit::HttpRequest { headers: vec![header("a", "b\r\nc: d")], ..base() }, "control characters"),
            (
                wit::HttpRequest { headers: (0..51).map(|_| header("a", "b")).collect(), ..base() },
                "51 headers",
            ),
            (wit::HttpRequest { body: text(&"x".repeat(limits::REQUEST + 1)), ..base() }, "at most 1048576"),
            (
                wit::HttpRequest {
                    headers: vec![header("Authorization", "x")],
                    signing: vec![basic()],
                    ..base()
                },
                "has the header authorization already",
            ),
            (
                wit::HttpRequest { signing: vec![basic(), basic()], ..base() },
                "has the header authorization already",
            ),
            (
                wit::HttpRequest { signing: vec![hmac_over(body(), "x-s", "other")], ..base() },
                "names the secret",
            ),
            (
                wit::HttpRequest { signing: vec![hmac_over(Vec::new(), "x-s", "key")], ..base() },
                "has 0 parts",
            ),
            (
                wit::HttpRequest {
                    signing: vec![hmac_over(vec![wit::MessagePart::Header("b".to_owned())], "x-s", "key")],
                    ..base()
                },
                "holds the header \"b\", which the request has not",
            ),
        ] {
            let problem = lifted(given).expect_err(expected);
            assert!(problem.contains(expected), "{expected}: {problem}");
        }
    }

    #[test]
    fn an_email_goes_to_addresses_and_has_one_line_of_subject() {
        let given = |to: &[&str], subject: &str| {
            email(wit::Email {
                to: to.iter().map(|&to| to.to_owned()).collect(),
                cc: Vec::new(),
                reply_to: None,
                subject: subject.to_owned(),
                text: "text".to_owned(),
                html: None,
            })
        };
        assert!(given(&["a@b.example"], "häuser").is_ok());
        for (to, subject, expected) in [
            (&[][..], "a", "goes to 0"),
            (&["a"][..], "a", "no address"),
            (&["a@b\r\nbcc: c@d"][..], "a", "no address"),
            (&["a@b,c@d"][..], "a", "no address"),
            (&["a@b"][..], "a\r\nbcc: c@d", "subject"),
        ] {
            let problem = given(to, subject).expect_err(expected);
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn a_memory_past_its_limit_is_refused_and_reasons_are_a_line() {
        let known: Known<'_> = &|_| false;
        let problem = step(wit::Step::Done(vec![0; limits::MEMORY + 1]), known).expect_err("too much");
        assert!(problem.contains("4097 bytes, at most 4096"), "{problem}");
        let reason = step(wit::Step::Fail("no\nluck".to_owned()), known);
        assert_eq!(reason, Ok(Step::Fail { reason: "no".to_owned() }));
    }
}
