//! Input that does not read, told in the words of who sent it: the field, its value and what would be right. For the host
//! and for plugins.

mod field;
mod json;
mod said;

pub use field::FieldError;
pub use json::{JsonError, from_json};
pub use said::{field_error, in_words, pointer, value_at};
