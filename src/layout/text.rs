//! Hostile text goes in; text that cannot move a terminal's cursor or fool a reader comes out.

use std::borrow::Cow;
use std::fmt::Write;

/// Text for a terminal or a message: control characters (ESC and C1 included), line separators and
/// the marks that turn the direction of writing are spelled out, as `\x1b`, `\n` or `\u{202e}`.
///
/// Everything else stays, a backslash included: this is for eyes, not for reading back.
pub fn escape_control(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_harmful) else {
        return Cow::Borrowed(text);
    };
    let mut escaped = String::with_capacity(text.len() + 16);
    escaped.push_str(&text[..first]);
    for character in text[first..].chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            harmful if is_harmful(harmful) => {
                let code = u32::from(harmful);
                let written = if code < 0x80 {
                    write!(escaped, "\\x{code:02x}")
                } else {
                    write!(escaped, "\\u{{{code:x}}}")
                };
                written.expect("a String takes any text");
            }
            harmless => escaped.push(harmless),
        }
    }
    Cow::Owned(escaped)
}

fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // Marks, embeddings, overrides and isolates of direction.
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Separators of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
            // Invisible: zero width space, byte order mark, tags, interlinear annotation.
            | '\u{200b}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}' | '\u{fff9}'..='\u{fffb}'
        )
}
