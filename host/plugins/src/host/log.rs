//! `bellwether:host/log`.

use bellwether_playbooks::LogLevel;

use super::{Call, contract};
use contract::log::{Host, Level};

impl Host for Call {
    fn write(&mut self, level: Level, message: String) {
        let level = match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.takes(message.len());
        self.log(level, message);
    }
}
