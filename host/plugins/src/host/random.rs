//! `bellwether:host/random`.

use bellwether_engine::wasmtime;

use super::{Call, contract};
use crate::limits;

impl contract::random::Host for Call {
    fn bytes(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        if length > limits::RANDOM {
            let most = limits::RANDOM;
            return Err(wasmtime::Error::msg(format!(
                "random.bytes was asked for {length} bytes, it gives at most {most}"
            )));
        }
        let mut bytes = vec![0; length as usize];
        self.services().randomness.fill(&mut bytes);
        Ok(bytes)
    }
}
