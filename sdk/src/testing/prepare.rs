//! Holds a request against what the host leaves to plugins, in its words.
//!
//! They are those of `host/plugins/src/egress/prepare.rs`, the numbers those of `host/plugins/src/limits.rs`: the SDK
//! depends on no crate of the host, and no author is to build the two libraries that read URLs and headers there.

use std::net::Ipv6Addr;

use crate::http::{HttpError, Request, Response};

/// Bytes of a URL.
const URL: usize = 8 << 10;

/// Headers of a request.
const HEADERS: usize = 100;

/// Bytes of all their names and values.
const HEADER_BYTES: usize = 64 << 10;

/// Bytes of a request's body.
const BODY: usize = 8 << 20;

/// Bytes of an answer's body.
const ANSWER: usize = 4 << 20;

/// Methods that are no request for something.
const NEVER_SENT: [&str; 2] = ["CONNECT", "TRACE"];

/// Headers that speak about the connection, which is the host's.
const RESERVED: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "proxy-authorization",
    "keep-alive",
];

/// Headers by which some servers let a request of one method stand for another.
const OTHER_METHOD: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];

/// Refuses what is never sent, whatever is granted.
pub(super) fn check(request: &Request) -> Result<(), HttpError> {
    check_what(request).map_err(HttpError::Invalid)?;
    if request.body.len() > BODY {
        let (length, most) = (request.body.len(), BODY >> 20);
        let text = format!("the request's body has {length} bytes, at most {most} MiB are sent");
        return Err(HttpError::TooLarge(text));
    }
    check_headers(request).map_err(HttpError::Invalid)
}

/// Refuses an answer larger than a plugin is given.
pub(super) fn check_answer(answer: &Response) -> Result<(), HttpError> {
    if answer.body.len() <= ANSWER {
        return Ok(());
    }
    Err(HttpError::TooLarge(format!("the answer's body is larger than {} MiB", ANSWER >> 20)))
}

fn check_what(Request { method, url, .. }: &Request) -> Result<(), String> {
    if !is_token(method) {
        return Err(format!("{method:?} is not a method"));
    }
    if NEVER_SENT.contains(&method.as_str()) {
        return Err(format!("the method {method} is not sent"));
    }
    if url.len() > URL {
        return Err(format!("the URL has {} bytes, at most {URL} are sent", url.len()));
    }
    check_url(url)
}

/// Refuses a URL by its scheme and authority; what the host finds wrong in an international name or an address with dots
/// is not looked for. No error repeats the URL: it may hold credentials.
fn check_url(url: &str) -> Result<(), String> {
    let no_url = |why| Err(format!("the URL is not an absolute one: {why}"));
    let url = url.trim_matches(|edge: char| edge <= ' ');
    let scheme = url.split_once(':').filter(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    let Some((scheme, rest)) = scheme else { return no_url("relative URL without a base") };
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https") {
        return Err(format!("the URL begins with {scheme:?}, expected http or https"));
    }
    let slashes = ['/', '\\'];
    let authority = rest.trim_start_matches(slashes).split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let (credentials, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    let port = match place.strip_prefix('[') {
        Some(address) => match address.split_once(']') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => port,
            _ => return no_url("invalid IPv6 address"),
        },
        None => {
            let (host, port) = place.split_at(place.find(':').unwrap_or(place.len()));
            if host.is_empty() {
                return no_url("empty host");
            }
            if host.contains(|at: char| at.is_ascii_control() || " <>[]^`{|}".contains(at)) {
                return no_url("invalid international domain name");
            }
            port
        }
    };
    let is_port = match port.strip_prefix(':') {
        Some(digits) => digits.is_empty() || digits.parse::<u16>().is_ok_and(|_| !digits.starts_with('+')),
        None => port.is_empty(),
    };
    if !is_port {
        return no_url("invalid port number");
    }
    match credentials {
        "" | ":" => Ok(()),
        _ => Err("credentials in a URL are not sent; use the Authorization header".to_owned()),
    }
}

fn check_headers(Request { headers, .. }: &Request) -> Result<(), String> {
    if headers.len() > HEADERS {
        return Err(format!("{} headers are too many, at most {HEADERS} are sent", headers.len()));
    }
    let bytes: usize = headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    if bytes > HEADER_BYTES {
        return Err(format!("the headers have {bytes} bytes, at most {} KiB are sent", HEADER_BYTES >> 10));
    }
    for header in headers {
        let name = header.name.to_ascii_lowercase();
        if !is_token(&name) {
            return Err(format!("{:?} is not a header's name", header.name));
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(format!("the header {name} is the host's to set"));
        }
        if header.value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(format!("the value of the header {name} holds control characters"));
        }
        if OTHER_METHOD.contains(&name.as_str()) && !is_token(&header.value) {
            return Err(format!("the header {name} names no method"));
        }
    }
    Ok(())
}

/// Whether it is a `token` of RFC 9110, as methods and names of headers are.
fn is_token(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: &Request) -> String {
        match check(request) {
            Err(HttpError::Invalid(why)) => why,
            other => panic!("{other:?} of {request:?}"),
        }
    }

    #[test]
    fn what_is_no_request_is_refused_in_the_hosts_words() {
        let get = || Request::get("https://api.example.com/");
        let of = |method: &str, url: &str| Request::new(method, url);
        for (request, why) in [
            (of("GE T", "https://a.example/"), "\"GE T\" is not a method"),
            (of("", "https://a.example/"), "\"\" is not a method"),
            (of("TRACE", "https://a.example/"), "the method TRACE is not sent"),
            (of("GET", "/x"), "the URL is not an absolute one: relative URL without a base"),
            (of("GET", "a.example/x?y=:"), "the URL is not an absolute one: relative URL without a base"),
            (of("GET", "https://"), "the URL is not an absolute one: empty host"),
            (of("GET", "https:///?q"), "the URL is not an absolute one: empty host"),
            (of("GET", "https://a.example:https/"), "the URL is not an absolute one: invalid port number"),
            (of("GET", "https://a.example:65536/"), "the URL is not an absolute one: invalid port number"),
            (of("GET", "https://[::1"), "the URL is not an absolute one: invalid IPv6 address"),
            (
                of("GET", "https://{region}.a.example/"),
                "the URL is not an absolute one: invalid international domain name",
            ),
            (of("GET", "File:///etc/passwd"), "the URL begins with \"file\", expected http or https"),
            (
                of("GET", "https://me:hunter2@a.example/"),
                "credentials in a URL are not sent; use the Authorization header",
            ),
            (get().header("a b", "c"), "\"a b\" is not a header's name"),
            (get().header("X-Line", "b\r\nc: d"), "the value of the header x-line holds control characters"),
            (get().header("Host", "internal"), "the header host is the host's to set"),
            (get().header("X-HTTP-Method", "no method"), "the header x-http-method names no method"),
        ] {
            assert_eq!(refused(&request), why, "{request:?}");
        }
    }

    #[test]
    fn what_the_host_sends_is_sent() {
        for url in [
            "https://a.example",
            "HTTP://a.example:8080?x=a:b@c",
            "http://[::1]:80/",
            "https:/a.example/",
            " https://häuser.example:/ü ",
            "http://@a.example/",
        ] {
            assert_eq!(check(&Request::get(url)), Ok(()), "{url}");
        }
        let request = Request::new("PURGE", "https://a.example/")
            .header("X-Tabs", "a\tb")
            .header("x-name", "Jürgen")
            .header("x-method-override", "delete");
        assert_eq!(check(&request), Ok(()));
    }

    #[test]
    fn what_is_sent_and_what_comes_back_is_bounded() {
        let post = || Request::post("https://a.example/");
        assert_eq!(check(&post().body(vec![0; BODY])), Ok(()));
        let larger = "the request's body has 8388609 bytes, at most 8 MiB are sent";
        assert_eq!(check(&post().body(vec![0; BODY + 1])), Err(HttpError::TooLarge(larger.into())));
        let long = format!("https://a.example/{}", "x".repeat(URL));
        assert_eq!(refused(&Request::get(long)), "the URL has 8210 bytes, at most 8192 are sent");
        let many = (0..101).fold(post(), |request, _| request.header("a", "b"));
        assert_eq!(refused(&many), "101 headers are too many, at most 100 are sent");
        let wide = post().header("x", "y".repeat(HEADER_BYTES));
        assert_eq!(refused(&wide), "the headers have 65537 bytes, at most 64 KiB are sent");
    }
}
