//! A provider's own code of why it said no, cut to what may stand in a group's name, a log and a page.
//!
//! What one provider writes there is not ours to believe: letters, digits and three marks are kept, and of those a line's
//! worth, so that no sentence, and nothing of a customer, passes for a code.

use std::fmt;

/// The longest that is kept: twice the longest code of those that we know.
const LONGEST: usize = 64;

/// A provider's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderCode(String);

impl ProviderCode {
    /// Of what a provider wrote; none where nothing of it is a code.
    #[must_use]
    pub fn read(said: &str) -> Option<Self> {
        let kept = said.chars().filter(|letter| letter.is_ascii_alphanumeric() || "._-".contains(*letter));
        let kept: String = kept.take(LONGEST).collect();
        (!kept.is_empty()).then_some(Self(kept))
    }
}

impl fmt::Display for ProviderCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_short_and_of_a_safe_alphabet_whatever_a_provider_writes() {
        let read = |said: &str| ProviderCode::read(said).map(|code| code.to_string());
        assert_eq!(read("ADDRESS.VERIFY.FAILURE").as_deref(), Some("ADDRESS.VERIFY.FAILURE"));
        assert_eq!(read("card_declined-2").as_deref(), Some("card_declined-2"));
        assert_eq!(read("a:b c\n<i>ä</i>\0").as_deref(), Some("abcii"));
        assert_eq!(read(&"x".repeat(1_000)).map(|code| code.len()), Some(LONGEST));
        assert_eq!((read(""), read(" :é\n")), (None, None));
    }
}
