//! Counts what a call hands over in the words of WASI with what it hands over otherwise (`host_call_bytes`). The library
//! counts none of it, and wasmtime only what one host call takes; so the functions whose texts and bytes the host keeps,
//! or tells somebody, are linked once more, over the library's own. A name that is only looked up is gone with its call.

use bellwether_engine::wasmtime::StoreContextMut;
use bellwether_engine::wasmtime::component::{LinkerInstance, Resource};
use bellwether_engine::wasmtime_wasi_http::FieldMap;
use bellwether_engine::wasmtime_wasi_http::p2::HeaderError;
use bellwether_engine::wasmtime_wasi_http::p2::bindings::http::types::{
    self, Host as _, HostFields as _, HostOutgoingRequest as _, Method, OutgoingRequest, Scheme,
};
use bellwether_engine::wasmtime_wasi_io::bindings::wasi::io::streams::{
    self, Host as _, HostOutputStream as _,
};
use bellwether_engine::wasmtime_wasi_io::streams::{DynOutputStream, StreamError};
use bellwether_engine::{Guest, Linker, wasmtime};

use super::{on_http, table};
use crate::host::Call;

/// The interfaces as the library names them; a component that asks for another patch version is given the same.
const STREAMS: &str = "wasi:io/streams@0.2.12";
const HTTP_TYPES: &str = "wasi:http/types@0.2.12";

type Store<'a> = StoreContextMut<'a, Guest<Call>>;
type Request = Resource<OutgoingRequest>;

/// Links the functions of [`super::link`] that are counted, over those that are not.
pub(super) fn link(linker: &mut Linker<Guest<Call>>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    write(&mut linker.instance(STREAMS)?)?;
    let mut types = linker.instance(HTTP_TYPES)?;
    fields(&mut types)?;
    requests(&mut types)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn takes(store: &mut Store<'_>, bytes: usize) {
    store.data_mut().data_mut().takes(bytes);
}

fn write(streams: &mut LinkerInstance<'_, Guest<Call>>) -> wasmtime::Result<()> {
    type Given = (Resource<DynOutputStream>, Vec<u8>);
    fn answer(
        store: &mut Store<'_>,
        written: Result<(), StreamError>,
    ) -> wasmtime::Result<(Result<(), streams::StreamError>,)> {
        Ok((match written {
            Ok(()) => Ok(()),
            Err(error) => Err(table(store.data_mut()).convert_stream_error(error)?),
        },))
    }
    streams.func_wrap("[method]output-stream.write", |mut store: Store<'_>, (stream, bytes): Given| {
        takes(&mut store, bytes.len());
        let written = table(store.data_mut()).write(stream, bytes);
        answer(&mut store, written)
    })?;
    streams.func_wrap_async(
        "[method]output-stream.blocking-write-and-flush",
        |mut store: Store<'_>, (stream, bytes): Given| {
            Box::new(async move {
                takes(&mut store, bytes.len());
                let written = table(store.data_mut()).blocking_write_and_flush(stream, bytes).await;
                answer(&mut store, written)
            })
        },
    )
}

fn fields(types: &mut LinkerInstance<'_, Guest<Call>>) -> wasmtime::Result<()> {
    type Fields = Resource<FieldMap>;
    fn answer<T>(
        store: &mut Store<'_>,
        done: Result<T, HeaderError>,
    ) -> wasmtime::Result<(Result<T, types::HeaderError>,)> {
        Ok((match done {
            Ok(done) => Ok(done),
            Err(error) => Err(on_http(store.data_mut()).convert_header_error(error)?),
        },))
    }
    types.func_wrap(
        "[static]fields.from-list",
        |mut store: Store<'_>, (entries,): (Vec<(String, Vec<u8>)>,)| {
            takes(&mut store, entries.iter().map(|(name, value)| name.len() + value.len()).sum());
            let made = on_http(store.data_mut()).from_list(entries);
            answer(&mut store, made)
        },
    )?;
    types.func_wrap(
        "[method]fields.set",
        |mut store: Store<'_>, (fields, name, values): (Fields, String, Vec<Vec<u8>>)| {
            takes(&mut store, name.len() + values.iter().map(Vec::len).sum::<usize>());
            let set = on_http(store.data_mut()).set(fields, name, values);
            answer(&mut store, set)
        },
    )?;
    types.func_wrap(
        "[method]fields.append",
        |mut store: Store<'_>, (fields, name, value): (Fields, String, Vec<u8>)| {
            takes(&mut store, name.len() + value.len());
            let appended = on_http(store.data_mut()).append(fields, name, value);
            answer(&mut store, appended)
        },
    )?;
    // Nothing is handed over, but there is as much again from the first change on.
    types.func_wrap("[method]fields.clone", |mut store: Store<'_>, (fields,): (Fields,)| {
        let copied = on_http(store.data_mut()).table.get(&fields)?;
        let bytes = copied.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        takes(&mut store, bytes);
        Ok((on_http(store.data_mut()).clone(fields)?,))
    })
}

fn requests(types: &mut LinkerInstance<'_, Guest<Call>>) -> wasmtime::Result<()> {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: Store<'_>, (request, method): (Request, Method)| {
            takes(&mut store, if let Method::Other(other) = &method { other.len() } else { 0 });
            Ok((on_http(store.data_mut()).set_method(request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        move |mut store: Store<'_>, (request, path): (Request, Option<String>)| {
            takes(&mut store, length(&path));
            Ok((on_http(store.data_mut()).set_path_with_query(request, path)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-scheme",
        |mut store: Store<'_>, (request, scheme): (Request, Option<Scheme>)| {
            takes(&mut store, if let Some(Scheme::Other(other)) = &scheme { other.len() } else { 0 });
            Ok((on_http(store.data_mut()).set_scheme(request, scheme)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        move |mut store: Store<'_>, (request, authority): (Request, Option<String>)| {
            takes(&mut store, length(&authority));
            Ok((on_http(store.data_mut()).set_authority(request, authority)?,))
        },
    )
}
