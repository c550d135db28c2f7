//! The OpenAPI 3.1 document, made from the routes themselves, and the page to try them at `/docs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderValue, header};
use tower_http::compression::CompressionLayer;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, Object, ObjectBuilder, OpenApi, OpenApiBuilder, Ref,
    RefOr, Required, Response as ResponseObject, ResponseBuilder, Schema, Type,
};
use utoipa::{IntoResponses, ToSchema};

use crate::idempotency;
use crate::problem::{Problem, ProblemKind, ProblemSchema};
use crate::services::Shared;

/// What Swagger UI needs: its own scripts and styles, styles set by script, images in the page.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// What POST asks and writes nothing: nothing to have no second effect.
const QUESTIONS: [&str; 2] = ["/v1/query", "/v1/monitor-tests"];

/// Problems an operation may answer, as types that can stand in its `responses`.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident [$($kind:ident),*])*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<ResponseObject>> {
                problems(&[$(ProblemKind::$kind),*])
            }
        }
    )*};
}

refusals! {
    /// What every operation with a key may answer.
    Refusals [Invalid, Unauthenticated, Forbidden, RateLimited, Internal, Unavailable, Deadline]
    /// What a webhook may answer.
    HookRefusals [Invalid, Unauthenticated, TooLarge, Internal, Unavailable, Deadline]
    /// Of what names a thing.
    NotFound [NotFound]
    /// Of what takes a body.
    Bodied [TooLarge, UnsupportedMediaType]
    /// Of what may clash with what is there.
    Clash [Conflict]
    /// Of what may find every place taken.
    Busy [RateLimited]
    /// Of what may ask for too much.
    TooMuch [TooLarge]
    /// Of what asks a plugin.
    Failing [Plugin, Conflict]
    /// Of what takes an `Idempotency-Key`.
    Repeatable [IdempotencyInProgress, IdempotencyMismatch]
}

fn problems(kinds: &[ProblemKind]) -> BTreeMap<String, RefOr<ResponseObject>> {
    let content = || {
        let schema = Ref::from_schema_name(ProblemSchema::name());
        ContentBuilder::new().schema(Some(schema)).build()
    };
    let response = |kind: &ProblemKind| {
        let description = format!("{} (`{}`)", kind.title(), kind.uri());
        let response =
            ResponseBuilder::new().description(description).content("application/problem+json", content());
        (kind.status().as_str().to_owned(), RefOr::T(response.build()))
    };
    kinds.iter().map(response).collect()
}

/// What the document says apart from the routes.
pub(crate) fn document() -> OpenApi {
    let tags = [
        ("metrics", "Interval metrics: define them, write samples, read values."),
        ("series", "Tagged series: write samples, ask questions, see what there is."),
        ("records", "Events and logs: append them, search them, and how long they are kept."),
        ("monitors", "What looks at series, its versions, how its series stand, and why."),
        ("incidents", "What monitors found, who knows of it, and what was told."),
        ("mutes", "Who is not told of what, and until when."),
        ("calendar", "When series are not looked at: suppressions, office hours, snoozes."),
        ("playbooks", "A trigger, steps in order, and versions of both."),
        ("channels", "Where incidents are told, what was delivered there, and which go where."),
        ("secrets", "What playbooks and channels name and nobody reads back."),
        ("runs", "What playbooks did, step by step."),
        ("webhooks", "What starts a playbook from outside."),
        ("plugins", "Sandboxed components and what they are granted."),
        ("keys", "Who may call."),
        ("organisations", "Whose data is whose."),
        ("audit", "What was done to keys, grants, installs and settings, and data that was deleted."),
        ("host", "How the host is."),
    ];
    let mut schemas = Vec::new();
    ProblemSchema::schemas(&mut schemas);
    let mut components = ComponentsBuilder::new().security_scheme(
        "key",
        SecurityScheme::Http(
            Http::builder()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("A key's token, `bw_…`: shown once when the key is made."))
                .build(),
        ),
    );
    components = components.schema_from::<ProblemSchema>();
    // What only a query parameter names.
    components = components.schema_from::<crate::api::Fill>().schema_from::<crate::api::TriggerKind>();
    for (name, schema) in schemas {
        components = components.schema(name, schema);
    }
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Bellwether")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "A plugin host for metrics, alerts and playbooks. Errors are problems (RFC 9457); lists are paged with \
                     `limit` and `cursor`; times are RFC 3339 in UTC; every answer carries `x-request-id`.",
                ))
                .license(Some(utoipa::openapi::LicenseBuilder::new().name("MIT OR Apache-2.0").build()))
                .build(),
        )
        .tags(Some(tags.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build())))
        .components(Some(components.build()))
        .build()
}

/// Puts schemas that allow nothing else, as requests have them, into those that add to them, as answers do: all of them
/// together would allow nothing.
fn open_flattened(document: &mut OpenApi) {
    let Some(components) = &mut document.components else { return };
    let closed: BTreeMap<String, Object> = components
        .schemas
        .iter()
        .filter_map(|(name, schema)| match schema {
            RefOr::T(Schema::Object(object)) if object.additional_properties.is_some() => {
                Some((format!("#/components/schemas/{name}"), object.clone()))
            }
            _ => None,
        })
        .collect();
    for schema in components.schemas.values_mut() {
        let RefOr::T(Schema::AllOf(all)) = schema else { continue };
        for item in &mut all.items {
            if let RefOr::Ref(reference) = item
                && let Some(object) = closed.get(&reference.ref_location)
            {
                let mut object = object.clone();
                object.additional_properties = None;
                *item = RefOr::T(Schema::Object(object));
            }
        }
    }
}

/// Gives every operation an id of its own, and every write what it has: the `Idempotency-Key`.
pub(crate) fn complete(document: &mut OpenApi) {
    open_flattened(document);
    for (path, item) in &mut document.paths.paths {
        let PathItem { get, post, put, patch, delete, .. } = item;
        let mut taken = Vec::new();
        let operations = [
            ("get", get),
            ("post", &mut *post),
            ("put", &mut *put),
            ("patch", &mut *patch),
            ("delete", &mut *delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            // A handler's name is clear within its file alone; with its path it is within the document, and one that
            // serves several methods has those.
            let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
            let handler = operation.operation_id.take().unwrap_or_default();
            let mut id = words.chain([handler.as_str()]).collect::<Vec<_>>().join("_");
            if taken.contains(&id) {
                id = format!("{id}_{method}");
            }
            operation.operation_id = Some(id.clone());
            taken.push(id);
        }
        if path.starts_with("/v1/") && !QUESTIONS.contains(&path.as_str()) {
            [post, put, patch, delete].into_iter().flatten().for_each(repeatable);
        }
    }
}

fn repeatable(operation: &mut Operation) {
    let parameter = ParameterBuilder::new()
        .name(idempotency::HEADER.as_str())
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Names this request, 1 to 255 printable characters: sent again within a day it has no second effect and \
             gets the same answer, with `idempotency-replayed: true`.",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255))))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
    for (status, response) in Repeatable::responses() {
        operation.responses.responses.entry(status).or_insert(response);
    }
}

/// `/openapi.json` and `/docs`.
pub(crate) fn router(document: &OpenApi) -> Router<Shared> {
    let json = document.to_json().expect("the document is plain data");
    let json = Bytes::from(json);
    let document = get(move || {
        let json = json.clone();
        async move { ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json) }
    });
    let config = utoipa_swagger_ui::Config::from("/openapi.json")
        .try_it_out_enabled(true)
        .persist_authorization(false);
    let config = Arc::new(config);
    let files = get(move |State(_): State<Shared>, path: Option<Path<String>>| {
        let config = Arc::clone(&config);
        async move { file(path.map(|Path(path)| path).as_deref().unwrap_or_default(), config) }
    });
    Router::new()
        .route("/openapi.json", document)
        .layer(CompressionLayer::new().gzip(true))
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
        .route("/docs/", files.clone())
        .route("/docs/{*file}", files)
        .route("/problems/{kind}", get(explain))
}

fn file(path: &str, config: Arc<utoipa_swagger_ui::Config<'static>>) -> Response {
    let file = match utoipa_swagger_ui::serve(path, config) {
        Ok(Some(file)) => file,
        Ok(None) => return Problem::not_found("There is no such file").into_response(),
        Err(error) => return Problem::internal(error).into_response(),
    };
    let content_type = HeaderValue::try_from(file.content_type);
    let content_type = content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    let mut response = (headers, file.bytes.into_owned()).into_response();
    if file.gzpipped {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// What a problem's type means and what to do about it: where the type's URI leads.
async fn explain(Path(kind): Path<String>) -> Result<String, Problem> {
    let uri = format!("/problems/{kind}");
    let found = ProblemKind::ALL.into_iter().find(|kind| kind.uri() == uri);
    let kind = found.ok_or_else(|| Problem::not_found("There is no such kind of problem"))?;
    Ok(format!("{} (status {})\n\n{}\n", kind.title(), kind.status().as_u16(), kind.advice()))
}
