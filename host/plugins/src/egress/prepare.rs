//! Holds a request against its grant and against what the host leaves to plugins, before anything is connected.

use bellwether_access::{Destination, NEVER_SENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::Url;

use super::{EgressError, Outgoing};
use crate::limits;

/// Headers that speak about the connection, which is the host's.
const RESERVED: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];

/// Headers by which some servers let a request of one method stand for another.
const OTHER_METHOD: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
];

/// A request that may be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// What is sent for `request`, if one of `granted` permits it. No error repeats the URL: it may hold credentials.
pub(super) fn prepare(granted: &[Destination], request: Outgoing) -> Result<Prepared, EgressError> {
    let invalid = EgressError::Invalid;
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| invalid(format!("{:?} is not a method", request.method)))?;
    if NEVER_SENT.contains(&method.as_str()) {
        return Err(invalid(format!("the method {method} is not sent")));
    }
    if request.url.len() > limits::HTTP_URL {
        let (length, most) = (request.url.len(), limits::HTTP_URL);
        return Err(invalid(format!("the URL has {length} bytes, at most {most} are sent")));
    }
    let url: Url =
        request.url.parse().map_err(|error| invalid(format!("the URL is not an absolute one: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid(format!("the URL begins with {:?}, expected http or https", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("credentials in a URL are not sent; use the Authorization header".to_owned()));
    }
    permitted(granted, &method, &url)?;
    if request.body.len() > limits::HTTP_BODY {
        let (length, most) = (request.body.len(), limits::HTTP_BODY >> 20);
        return Err(EgressError::TooLarge(format!(
            "the request's body has {length} bytes, at most {most} MiB are sent"
        )));
    }
    if request.headers.len() > limits::HTTP_HEADERS {
        return Err(invalid(format!(
            "{} headers are too many, at most {} are sent",
            request.headers.len(),
            limits::HTTP_HEADERS
        )));
    }
    let bytes: usize = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits::HTTP_HEADER_BYTES {
        let most = limits::HTTP_HEADER_BYTES >> 10;
        return Err(invalid(format!("the headers have {bytes} bytes, at most {most} KiB are sent")));
    }
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for (name, value) in request.headers {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("{name:?} is not a header's name")))?;
        if RESERVED.contains(&header) {
            return Err(invalid(format!("the header {header} is the host's to set")));
        }
        let value = HeaderValue::from_str(&value)
            .map_err(|_| invalid(format!("the value of the header {header} holds control characters")))?;
        if OTHER_METHOD.contains(&header) {
            let other = Method::from_bytes(&value.as_bytes().to_ascii_uppercase());
            let other = other.map_err(|_| invalid(format!("the header {header} names no method")))?;
            permitted(granted, &other, &url)?;
        }
        headers.append(header, value);
    }
    Ok(Prepared { method, url, headers, body: request.body })
}

/// Whether one of `granted` covers a request; says what is missing if not.
fn permitted(granted: &[Destination], method: &Method, url: &Url) -> Result<(), EgressError> {
    if granted.iter().any(|destination| destination.permits(method, url)) {
        return Ok(());
    }
    let origin = url.origin().ascii_serialization();
    let text = if granted.iter().any(|destination| destination.leads_to(url)) {
        format!("the plugin's grant does not cover the method {method} for {origin}")
    } else {
        format!("the plugin's grant does not cover {origin}; who runs it can add http-client={origin}")
    };
    Err(EgressError::Forbidden(text))
}
