//! A text with places: `{timestamp}.{body}`. Read once, filled often; a place that nobody fills can't be read.

use super::BadSecret;

/// A text with places for `T`.
#[derive(Clone, Debug)]
pub struct Template<T>(Vec<Part<T>>);

#[derive(Clone, Debug)]
enum Part<T> {
    Text(String),
    Place(T),
}

impl<T: Copy> Template<T> {
    /// Reads a template; `place` knows the names.
    pub fn read(text: &str, place: impl Fn(&str) -> Option<T>) -> Result<Self, BadSecret> {
        let refused = || BadSecret::Template(text.to_owned());
        let mut parts = Vec::new();
        for (at, part) in text.split('{').enumerate() {
            let plain = if at == 0 {
                part
            } else {
                let (name, plain) = part.split_once('}').ok_or_else(refused)?;
                parts.push(Part::Place(place(name).ok_or_else(refused)?));
                plain
            };
            if plain.contains('}') {
                return Err(refused());
            }
            if !plain.is_empty() {
                parts.push(Part::Text(plain.to_owned()));
            }
        }
        Ok(Self(parts))
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a place of this sort is in it.
    pub fn has(&self, is_one: impl Fn(T) -> bool) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Place(place) if is_one(*place)))
    }

    /// The bytes, each place filled.
    pub fn bytes<'a>(&'a self, fill: impl Fn(T) -> &'a [u8]) -> Vec<u8> {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_bytes(),
            Part::Place(place) => fill(*place),
        });
        parts.collect::<Vec<_>>().concat()
    }

    /// The text, each place filled.
    pub fn text(&self, fill: impl Fn(T) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Place(place) => fill(*place),
        });
        parts.collect()
    }
}
