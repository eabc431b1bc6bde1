//! Values that may be used and never shown.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A text that is masked wherever it is printed or serialised, and wiped from memory when it is dropped. An empty one is
/// shown as empty: it is no secret.
///
/// `secrecy` alone would refuse to serialise it, while a configuration must be shown, and to compare it.
#[derive(Clone, Default)]
pub struct Secret(SecretString);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself, for the one who needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    fn masked(&self) -> &'static str {
        if self.is_empty() { "" } else { "***" }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// Configurations are compared with it; what a stranger sends is compared in constant time instead.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.masked())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.masked())
    }
}

/// Only a text is taken. A number or a truth value may have been written otherwise than it is printed (`007`, `1_0`, `12.50`):
/// what was taken would not be what was written. It is refused without being shown.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for a text, some deserialisers say themselves what they found instead, and show it.
        deserializer.deserialize_any(Text)
    }
}

struct Text;

impl Text {
    fn refused<E: Error>(found: &str) -> Result<Secret, E> {
        Err(E::custom(format_args!("a secret is a text, and this is {found}: put it in quotes")))
    }
}

impl Visitor<'_> for Text {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
        Self::refused("true or false")
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        Self::refused("a number")
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Secret, E> {
        Self::refused("a number")
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
        Self::refused("a number")
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Secret, E> {
        Self::refused("a number")
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        Self::refused("a number")
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::Error as ValueError;

    use super::*;

    #[test]
    fn a_secret_is_masked_wherever_it_could_be_read() {
        let secret = Secret::new("open sesame");
        assert_eq!((secret.expose(), format!("{secret:?}").as_str()), ("open sesame", "***"));
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert_eq!(serde_json::to_string(&Secret::default()).unwrap(), "\"\"");
    }

    #[test]
    fn a_text_is_taken_as_it_is_written() {
        for text in ["x", "0012345678", "12.50", "true", ""] {
            let written = serde_json::to_string(text).unwrap();
            assert_eq!(serde_json::from_str::<Secret>(&written).unwrap(), Secret::new(text));
        }
        let letter: Result<Secret, ValueError> = Secret::deserialize('x'.into_deserializer());
        assert_eq!(letter.unwrap(), Secret::new("x"));
    }

    #[test]
    fn what_may_have_been_written_in_another_way_is_refused_and_not_shown() {
        fn refused(secret: Result<Secret, ValueError>) -> String {
            secret.unwrap_err().to_string()
        }
        let told = [
            refused(Secret::deserialize(true.into_deserializer())),
            refused(Secret::deserialize(77_u8.into_deserializer())),
            refused(Secret::deserialize(77_u64.into_deserializer())),
            refused(Secret::deserialize(77_u128.into_deserializer())),
            refused(Secret::deserialize((-77_i8).into_deserializer())),
            refused(Secret::deserialize((-77_i64).into_deserializer())),
            refused(Secret::deserialize((-77_i128).into_deserializer())),
            refused(Secret::deserialize(77.5_f32.into_deserializer())),
            refused(Secret::deserialize(77.5_f64.into_deserializer())),
        ];
        for told in told {
            assert!(told.contains("put it in quotes") && !told.contains("77"), "{told}");
        }
        for found in ["[77]", "{\"a\": 77}", "null", "77", "77.5", "1e77"] {
            let told = serde_json::from_str::<Secret>(found).unwrap_err().to_string();
            assert!(told.contains("in quotes") && !told.contains("77"), "{told}");
        }
    }
}
