//! Settings that are more than a number or a text: how each reads, and what is expected of one that does not, in the
//! words of who writes it.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::Network;

/// A setting, or an item of one.
pub(super) trait Item: Sized {
    /// What would be right.
    const EXPECTED: &'static str;
    /// Whether it may be written as a number too; in the environment it is text.
    const IS_NUMBER: bool = false;

    /// Reads one.
    fn read(text: &str) -> Option<Self>;
}

impl Item for SocketAddr {
    const EXPECTED: &'static str = "an address with a port, such as 127.0.0.1:8780";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Item for Network {
    const EXPECTED: &'static str = "a network such as 10.0.0.0/8, or an address";

    fn read(text: &str) -> Option<Self> {
        text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok().map(Self)
    }
}

impl Item for String {
    const EXPECTED: &'static str = "a text";

    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// A port.
impl Item for u16 {
    const EXPECTED: &'static str = "a port, a whole number from 0 to 65535";
    const IS_NUMBER: bool = true;

    fn read(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }
}

/// Reads a flag.
pub(super) fn flag<T: Item>(text: &str) -> Result<T, String> {
    T::read(text).ok_or_else(|| format!("expected {}", T::EXPECTED))
}

/// An item, or none.
pub(super) fn one<'de, D: Deserializer<'de>, T: Item>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<One<T>>::deserialize(deserializer)?.map(|One(item)| item))
}

/// A list, or its only item.
pub(super) fn one_or_many<'de, D: Deserializer<'de>, T: Item>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(Many(PhantomData))
}

/// A list, or its only item; that it is empty says something else than that there is none. In the environment, which is
/// not told that it is a list, commas stand between the items.
pub(super) fn some<'de, D: Deserializer<'de>, T: Item>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    let lists: Vec<Listed<T>> = one_or_many(deserializer)?;
    Ok(Some(lists.into_iter().flat_map(|Listed(items)| items).collect()))
}

struct Listed<T>(Vec<T>);

impl<T: Item> Item for Listed<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(text: &str) -> Option<Self> {
        text.split(',').map(|item| T::read(item.trim())).collect::<Option<_>>().map(Self)
    }
}

struct One<T>(T);

impl<'de, T: Item> Deserialize<'de> for One<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Single(PhantomData))
    }
}

struct Single<T>(PhantomData<T>);

impl<T: Item> Visitor<'_> for Single<T> {
    type Value = One<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<One<T>, E> {
        T::read(text).map(One).ok_or_else(|| E::custom(T::EXPECTED))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<One<T>, E> {
        if T::IS_NUMBER {
            self.visit_str(&number.to_string())
        } else {
            Err(E::invalid_type(Unexpected::Unsigned(number), &self))
        }
    }
}

struct Many<T>(PhantomData<T>);

impl<'de, T: Item> Visitor<'de> for Many<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a list of such", T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        Single(PhantomData).visit_str(text).map(|One(item)| vec![item])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Vec<T>, A::Error> {
        let items = Vec::<One<T>>::deserialize(SeqAccessDeserializer::new(items))?;
        Ok(items.into_iter().map(|One(item)| item).collect())
    }
}
