//! Components that are not what they should be. Never returning from `describe`, malformed bytes of many kinds and
//! contracts of other versions are tried in `host/plugins`, from text.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use bellwether_tests::expect_json;
use reqwest::blocking::Body;

use crate::component;
use crate::world::world;

/// Bytes of the component that is too large.
const LARGE: u64 = 200 << 20;

#[test]
fn a_component_of_200_mb_is_refused_without_being_taken_in() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    let header = std::fs::read(component()?)?;
    for announced in [true, false] {
        let bytes = std::io::Cursor::new(header.clone()).chain(std::io::repeat(0)).take(LARGE);
        let body = if announced { Body::sized(bytes, LARGE) } else { Body::new(bytes) };
        let request = world.host.as_key(&world.host.keys().operator, "POST", "/v1/plugins?grant=log");
        // A host that has said no need not listen to the rest.
        match request.header("content-type", "application/wasm").body(body).send() {
            Ok(answer) => {
                let problem = expect_json(answer, 413)?;
                ensure!(
                    problem["detail"].as_str().is_some_and(|detail| detail.contains("larger than")),
                    "{problem}"
                );
            }
            Err(error) => ensure!(error.is_request() || error.is_body(), "{error}"),
        }
    }
    attacker.leaves_the_others_alone()
}

#[test]
fn a_component_that_is_cut_off_or_damaged_is_refused_with_the_reason() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    let whole = std::fs::read(component()?)?;
    let install = |bytes: Vec<u8>| -> Result<String> {
        let request =
            world.host.as_key(&world.host.keys().operator, "POST", "/v1/plugins?grant=log&replace=true");
        let answer = request.header("content-type", "application/wasm").body(bytes).send()?;
        let problem = expect_json(answer, 400)?;
        Ok(problem["detail"].as_str().context("a problem has a detail")?.to_owned())
    };
    let cut = install(whole[..whole.len() / 2].to_vec())?;
    ensure!(cut.contains("malformed"), "{cut}");
    let mut damaged = whole;
    for byte in damaged.iter_mut().skip(1000).step_by(97) {
        *byte ^= 0xff;
    }
    let damaged = install(damaged)?;
    ensure!(damaged.contains("malformed"), "{damaged}");
    attacker.leaves_the_others_alone()
}
