//! A mail's text in the shop's frame: its name and colour, paragraphs, sums in columns, and our own addresses as links.
//!
//! Made of the finished text, so that nobody writes a mail twice. Everything is escaped, whoever typed it; and an address
//! becomes a link only where it is the order's page or the carrier's, because a customer's "name" may be an address too.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error};
use serde::Serialize;

use super::{COLUMN, WordingError};

/// The frame's name among the templates.
pub(super) const FRAME: &str = "layout.html";
/// The frame.
const LAYOUT: &str = include_str!("../../config/emails/layout.html");

/// How the shop shows itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Brand {
    /// Its name, above every mail where there is no logo.
    pub name: String,
    /// `#rrggbb` of links and of the line above.
    pub color: String,
    /// The address of a picture; empty shows the name.
    pub logo_url: String,
    /// A line below every mail, such as the shop's postal address; empty shows none.
    pub footer: String,
}

/// What the frame shows.
#[derive(Debug, Serialize)]
struct Page<'a> {
    language: &'a str,
    subject: &'a str,
    blocks: Vec<Block<'a>>,
    brand: &'a Brand,
}

/// Lines that belong together.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Block<'a> {
    /// Whether each line has a column of its own for its amount.
    is_table: bool,
    lines: Vec<Line<'a>>,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct Line<'a> {
    words: &'a str,
    amount: Option<&'a str>,
    link: Option<&'a str>,
}

/// Makes the frame known.
pub(super) fn frame(templates: &mut Environment<'static>) -> Result<(), WordingError> {
    let malformed =
        |error: Error| WordingError::Malformed { template: FRAME.to_owned(), fault: super::told(&error) };
    templates
        .set_auto_escape_callback(|name| if name == FRAME { AutoEscape::Html } else { AutoEscape::None });
    templates.add_template(FRAME, LAYOUT).map_err(malformed)
}

/// The mail in HTML.
pub(super) fn of(
    templates: &Environment<'_>,
    brand: &Brand,
    (language, subject, text): (&str, &str, &str),
    links: &[&str],
) -> Result<String, Error> {
    let page = Page { language, subject, blocks: blocks(text, links), brand };
    templates.get_template(FRAME)?.render(Serde(page))
}

fn blocks<'a>(text: &'a str, links: &[&str]) -> Vec<Block<'a>> {
    let mut blocks: Vec<Block<'a>> = Vec::new();
    for paragraph in text.split("\n\n") {
        let mut is_first = true;
        for line in paragraph.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let line = Line::of(line, links);
            let is_table = line.amount.is_some();
            match blocks.last_mut().filter(|block| !is_first && block.is_table == is_table) {
                Some(block) => block.lines.push(line),
                None => blocks.push(Block { is_table, lines: vec![line] }),
            }
            is_first = false;
        }
    }
    blocks
}

impl<'a> Line<'a> {
    fn of(line: &'a str, ours: &[&str]) -> Self {
        if let Some((words, amount)) = line.split_once(COLUMN) {
            return Self { words, amount: Some(amount), link: None };
        }
        let found = ours.iter().find_map(|address| {
            let words = line.strip_suffix(*address)?;
            Some((words, line.get(words.len()..)?))
        });
        match found {
            Some((words, address)) => Self { words, amount: None, link: Some(address) },
            None => Self { words: line, amount: None, link: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "https://shop.example.com/orders/OF-1";

    #[test]
    fn paragraphs_sums_and_links_are_told_apart() {
        let text =
            format!("Hello,\n\nthank you.\n1 x Tie:\tUSD 19.00\nTotal:\tUSD 19.00\n\nHere:\n{LINK}\n\nBye\n");
        let plain = |words| Line { words, amount: None, link: None };
        let sum = |words, amount| Line { words, amount: Some(amount), link: None };
        let block = |is_table, lines| Block { is_table, lines };
        assert_eq!(
            blocks(&text, &[LINK]),
            [
                block(false, vec![plain("Hello,")]),
                block(false, vec![plain("thank you.")]),
                block(true, vec![sum("1 x Tie:", "USD 19.00"), sum("Total:", "USD 19.00")]),
                block(false, vec![plain("Here:"), Line { words: "", amount: None, link: Some(LINK) }]),
                block(false, vec![plain("Bye")]),
            ]
        );
    }

    #[test]
    fn an_address_that_is_not_ours_is_no_link() {
        let line = Line::of("Hello https://evil.example.com", &[LINK]);
        assert_eq!(line.link, None);
    }
}
