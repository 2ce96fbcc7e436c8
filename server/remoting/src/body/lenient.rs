//! How fields are read when they are not quite what they should be: fastjson takes numbers in quotes,
//! booleans as numbers, and null for anything.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// Null is the default.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A number, also in quotes; null is the default.
pub(crate) fn number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64> + Default,
{
    deserializer.deserialize_any(Number(PhantomData))
}

/// A list of numbers, also in quotes; null is the empty list.
pub(crate) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i32>, D::Error> {
    #[derive(serde::Deserialize)]
    struct One(#[serde(deserialize_with = "number")] i32);
    let list: Vec<One> = or_default(deserializer)?;
    Ok(list.into_iter().map(|One(number)| number).collect())
}

/// A truth value, also as a number or in quotes; null is false.
pub(crate) fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(Truth)
}

struct Number<T>(PhantomData<T>);

impl<T: TryFrom<i64> + Default> Visitor<'_> for Number<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number in range")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        T::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        let signed = i64::try_from(value);
        let signed = signed.map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))?;
        self.visit_i64(signed)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        self.visit_i64(value as i64)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        self.visit_i64(i64::from(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        match value.trim() {
            "" | "null" => Ok(T::default()),
            text => match text.parse() {
                Ok(number) => self.visit_i64(number),
                Err(_) => Err(E::invalid_value(Unexpected::Str(value), &self)),
            },
        }
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::default())
    }
}

struct Truth;

impl Visitor<'_> for Truth {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        Ok(value == 1)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        Ok(value == 1)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<bool, E> {
        Ok(value == "1" || value.eq_ignore_ascii_case("true"))
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }
}

/// An enum that is written by its wire name and read by name or ordinal.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            const ALL: &'static [($name, &'static str)] = &[$(($name::$variant, $text),)*];

            /// The wire name.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The value with this wire name.
            pub fn from_name(name: &str) -> Option<$name> {
                Self::ALL.iter().find(|(_, text)| *text == name).map(|&(value, _)| value)
            }

            /// The value with this ordinal.
            pub fn from_ordinal(ordinal: i64) -> Option<$name> {
                let ordinal = usize::try_from(ordinal).ok()?;
                Self::ALL.get(ordinal).map(|&(value, _)| value)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(untagged)]
                enum Form { Name(String), Ordinal(i64) }
                let found = match <Form as serde::Deserialize>::deserialize(deserializer)? {
                    Form::Name(name) => Self::from_name(&name)
                        .or_else(|| Self::from_ordinal(name.parse().ok()?)),
                    Form::Ordinal(ordinal) => Self::from_ordinal(ordinal),
                };
                found.ok_or_else(|| serde::de::Error::custom(concat!("unknown ", stringify!($name))))
            }
        }
    };
}
pub(crate) use named;
