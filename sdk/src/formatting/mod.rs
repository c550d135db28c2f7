//! What formatters have in common: the story of an incident in words, cut to the room a channel has, in its markup.
//!
//! ```
//! use bellwether_sdk::formatter::Event;
//! use bellwether_sdk::formatting::{Html, Room, Story};
//! use bellwether_sdk::testing::notification;
//!
//! let story = Story::of(&notification(Event::Opened));
//! assert_eq!(story.headline, "[High] Checkout fails more often than usual");
//! let line = "checkout.errors{country:de}: peak 64 errors, expected 16, +300 %; score 0.97";
//! assert_eq!(story.sections[0].lines, [line]);
//!
//! // Whole lines, escaped, as many as there is room for; what is left out is counted.
//! let text = story.body(&Html, Room::characters(4000), true);
//! assert!(text.contains("<b>Severity:</b> High\n"));
//! assert!(text.contains(r#"<a href="https://bellwether.example/actions/action-1">Roll back</a>"#));
//! ```

mod block_kit;
mod markup;
mod mrkdwn;
mod room;
mod story;
mod words;

pub use block_kit::block_kit;
pub use markup::{Html, Markdown, Markup, Plain, WrittenOut, quiet};
pub use mrkdwn::Mrkdwn;
pub use room::Room;
pub use story::{Fact, Section, Story};
pub use words::{
    check_text, clean, colour, duration, line_key, moment, number, one_line, severity, stable_key,
};
