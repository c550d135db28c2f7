//! `bellwether:host/clock`.

use super::{Call, contract};

impl contract::clock::Host for Call {
    fn now(&mut self) -> i64 {
        self.services().clock.now().as_milliseconds()
    }
}
