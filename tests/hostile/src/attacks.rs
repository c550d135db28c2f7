//! What the plugin does, by name. Each ends in an answer only if the host let it happen.

use std::hint::black_box;

use bellwether_sdk::host::{Clock, HttpClient, Level, Log, State};
use bellwether_sdk::http::Request;

use crate::forged::{alias, forged, not_utf8, trap};

/// What an attack brings home.
#[derive(Default)]
pub(crate) struct Attack {
    pub(crate) said: String,
    pub(crate) score: f64,
    pub(crate) texts: Vec<String>,
}

/// Bytes of one piece, where many are needed.
const PIECE: usize = 1 << 20;

/// Does what `mode` names; `url` is where to, where a request is sent.
pub(crate) fn attack(
    host: &(impl Clock + HttpClient + Log + State),
    mode: &str,
    url: &str,
) -> Result<Attack, String> {
    let said = match mode {
        "quiet" => "nothing happened".to_owned(),
        "loop" => loop {
            black_box(0);
        },
        "fill" => {
            let mut memory = vec![0_u8; 32 * PIECE];
            loop {
                memory.fill(black_box(7));
                black_box(&mut memory);
            }
        }
        "copy" => {
            let mut memory = vec![0_u8; 32 * PIECE];
            loop {
                memory.copy_within(..31 * PIECE, black_box(PIECE));
                black_box(&mut memory);
            }
        }
        "recursion" => recursion(0, black_box(u64::MAX)).to_string(),
        "recursion-with-frames" => recursion_with_frames(0).to_string(),
        "growth-by-steps" => {
            let mut pieces = Vec::new();
            loop {
                pieces.push(black_box(vec![1_u8; PIECE]));
            }
        }
        "growth-at-once" => black_box(vec![1_u8; 1 << 30]).len().to_string(),
        "long-log-line" => {
            host.info(&"x".repeat(10 << 20));
            "logged".to_owned()
        }
        "many-log-lines" => {
            (0..1_000_000).for_each(|_| host.log(Level::Info, "again"));
            "logged".to_owned()
        }
        "many-host-calls" => {
            let last = (0..1_000_000).map(|_| host.now().milliseconds()).last();
            format!("{last:?}")
        }
        "long-argument" => {
            host.info(&forged(1 << 30));
            "logged".to_owned()
        }
        "repeated-argument" => {
            // A thousand times the same megabyte: little to hold for the guest, a gigabyte to copy for the host.
            let piece = "x".repeat(PIECE);
            let headers = (0..1_000).fold(Request::get(url), |request, _| request.header("x", alias(&piece)));
            let answer = host.send(headers);
            answer.map_err(|error| error.to_string())?.status.to_string()
        }
        "long-answer" => forged(1 << 30),
        "repeated-answer" => {
            let piece = String::leak("x".repeat(PIECE));
            let texts = (0..1_000).map(|_| alias(piece)).collect();
            return Ok(Attack { texts, ..Attack::default() });
        }
        "not-utf8" => not_utf8(),
        "nan" => return Ok(Attack { score: f64::NAN, ..Attack::default() }),
        "trap" => trap(),
        "panic" => panic!("the plugin does not feel well"),
        "fetch" => {
            let answer = host.send(Request::get(url)).map_err(|error| error.to_string())?;
            format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))
        }
        "follow" => {
            let mut answer = host.send(Request::get(url)).map_err(|error| error.to_string())?;
            while let Some(next) = answer.header("location").map(str::to_owned) {
                answer = host.send(Request::get(next)).map_err(|error| error.to_string())?;
            }
            format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))
        }
        "many-requests" => {
            let sent = (0..1_000_000).try_fold(0, |sent, _| host.send(Request::get(url)).map(|_| sent + 1));
            format!("{}", sent.map_err(|error| error.to_string())?)
        }
        "trigger" => {
            // A webhook of a playbook whose step comes back here, and is told where to.
            let request = Request::post(url).body(url).header("content-type", "text/plain");
            let answer = host.send(request).map_err(|error| error.to_string())?;
            format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))
        }
        "hoard" => {
            // Where calls are too short to fill it, the next goes on.
            let began = host.now().milliseconds();
            for number in 0.. {
                let kept = host.set(&format!("hoard/{began}/{number}"), Some(&[7; 32 << 10]));
                kept.map_err(|error| format!("after {number} values: {error}"))?;
            }
            "kept all".to_owned()
        }
        _ => return Err(format!("there is no mode {mode:?}")),
    };
    Ok(Attack { said, ..Attack::default() })
}

/// Needs no memory but the machine's own stack, and ends long after that does.
#[inline(never)]
fn recursion(depth: u64, most: u64) -> u64 {
    if depth == most { depth } else { recursion(depth + 1, most).rotate_left(1) ^ depth }
}

/// Each call has a frame in the plugin's memory, where its own stack lies.
#[expect(unconditional_recursion, reason = "that is the attack")]
fn recursion_with_frames(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    1 + recursion_with_frames(black_box(frame[63] + 1))
}
