//! The role `dialect`: speaks a vendor's HTTP API.
//!
//! A dialect is a function that returns its routes. The host reads them once, when the plugin is installed, verifies
//! who is calling on the raw request, and then asks for one route's answer at a time; [`Router`] does both halves.
//!
//! ```
//! use bellwether_sdk::dialect::{Authentication, Request, Response, Router, dialect};
//! use bellwether_sdk::host::MetricsRead;
//!
//! /// Metrics as a bare list of names.
//! #[dialect]
//! fn names<H: MetricsRead>() -> Router<H> {
//!     Router::new()
//!         .authenticate(&[Authentication::HeaderKey("x-api-key")])
//!         .get("/names", list)
//!         .get("/names/{name}/id", identify)
//!         .fallback(|_, _| Response::text(404, "no such path"))
//! }
//!
//! fn list(host: &impl MetricsRead, request: &Request<'_>) -> Result<Response, Response> {
//!     let limit = request.query_as("limit").map_err(|error| Response::text(400, error))?.unwrap_or(50);
//!     let page = host.metrics(0, limit).map_err(|error| Response::text(500, error))?;
//!     let names: Vec<String> = page.metrics.into_iter().map(|metric| metric.definition.name).collect();
//!     Ok(Response::json(200, &names))
//! }
//!
//! fn identify(host: &impl MetricsRead, request: &Request<'_>) -> Response {
//!     match host.metric(request.parameter("name")) {
//!         Ok(metric) => Response::text(200, metric.id),
//!         Err(error) => Response::text(404, error),
//!     }
//! }
//! # use bellwether_sdk::testing::{Client, MemoryHost};
//! # let host = MemoryHost::new();
//! # let client = Client::new(names(), &host);
//! # assert_eq!(client.get("/names").body, b"[]");
//! # assert_eq!(client.get("/names?limit=x").status, 400);
//! # assert_eq!(client.get("/names/none/id").status, 404);
//! # assert_eq!(client.get("/elsewhere").body, b"no such path");
//! ```

mod authentication;
mod request;
mod response;
mod router;

pub use authentication::{AuthFailure, Authentication, MessagePart, Signature};
pub use bellwether_reading::{JsonError, from_json};
pub use bellwether_sdk_macros::dialect;
pub use request::{QueryError, Request};
pub use response::{IntoResponse, Response, TooLarge};
pub use router::Router;

pub use crate::bindings::dialect::bellwether::plugin::dialect_types::{Encoding, Principal, Role};
pub use crate::bindings::dialect::exports::bellwether::plugin::configurable_dialect::{Description, Route};
pub use crate::http::Header;
