//! Texts from elsewhere, made harmless for where they are written. HTML needs nothing of this but [`clean`]: its writer escapes.

/// What stands for a character that a reader would not see, and a terminal would obey.
const REPLACED: char = '\u{fffd}';

/// What Markdown takes for more than itself in the middle of a line, HTML and links included.
const SPECIAL: &str = "\\`*_[]<>|#&~$!";

/// Replaces characters that do something instead of showing: of control, and those that turn the direction of writing. Line breaks
/// and tabs stay.
pub(crate) fn clean(text: &str) -> String {
    text.replace("\r\n", "\n").chars().map(|c| if is_active(c) { REPLACED } else { c }).collect()
}

fn is_active(c: char) -> bool {
    let turns = matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && !matches!(c, '\n' | '\t'))
}

/// Writes a text into a line of Markdown, in a table too: line breaks become spaces.
pub(crate) fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '\n' | '\t' => out.push(' '),
            c if SPECIAL.contains(c) => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    // An address would become a link by itself.
    out.replace("://", ":\\/\\/")
}

/// Writes a text as a block of code, behind a fence that it does not have in itself.
pub(crate) fn fenced(text: &str) -> String {
    let text = clean(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end_matches('\n'))
}
