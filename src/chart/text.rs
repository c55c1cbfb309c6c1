//! Text for pictures and terminals: any text goes in, text that can be drawn on one line comes out.
//!
//! It never lets a control character through, and never cuts a character in two.

use super::font::font;

/// Text as it is drawn: on one line, Hangul composed, characters the font has not as squares.
pub fn drawable(text: &str) -> String {
    let font = font();
    plain(text).chars().map(|c| font.known(c)).collect()
}

/// Text on one line: jamo composed to syllables, white space as a space, without control
/// characters, marks of direction and joiners.
pub fn plain(text: &str) -> String {
    compose(text.chars().filter_map(visible))
}

fn visible(character: char) -> Option<char> {
    match character {
        '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' => None,
        '\u{0300}'..='\u{036F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{00AD}' => None,
        '\u{FFFE}' | '\u{FFFF}' => None,
        '\t' | '\n' | '\r' => Some(' '),
        c if c.is_control() => None,
        c if c.is_whitespace() => Some(' '),
        '\u{2011}' => Some('-'),
        c => Some(c),
    }
}

/// Composes conjoining jamo (as in file names from macOS) to syllables: the Unicode Standard,
/// section 3.12.
fn compose(characters: impl Iterator<Item = char>) -> String {
    const FIRST: u32 = 0xAC00;
    let mut out = String::new();
    for c in characters {
        let code = c as u32;
        let last = out.chars().next_back().map_or(0, |l| l as u32);
        let joined = if (0x1161..=0x1175).contains(&code) && (0x1100..=0x1112).contains(&last) {
            Some(FIRST + ((last - 0x1100) * 21 + (code - 0x1161)) * 28)
        } else if (0x11A8..=0x11C2).contains(&code)
            && (FIRST..=0xD7A3).contains(&last)
            && (last - FIRST).is_multiple_of(28)
        {
            Some(last + (code - 0x11A7))
        } else {
            None
        };
        match joined.and_then(char::from_u32) {
            Some(syllable) => {
                out.pop();
                out.push(syllable);
            }
            None => out.push(c),
        }
    }
    out
}

/// Cuts drawable text to a width, with an ellipsis at the end; `width` in the unit of `size`.
pub fn fit(text: &str, size: f64, width: f64) -> String {
    let font = font();
    if font.width(text, size) <= width {
        return text.to_string();
    }
    let room = width - font.width("…", size);
    let mut kept = String::new();
    let mut used = 0.0;
    for c in text.chars() {
        used += font.width(c.encode_utf8(&mut [0; 4]), size);
        if used > room {
            break;
        }
        kept.push(c);
    }
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

/// Cuts drawable text to a width in the middle: both ends of an address say something.
pub fn fit_middle(text: &str, size: f64, width: f64) -> String {
    let font = font();
    if font.width(text, size) <= width {
        return text.to_string();
    }
    let characters: Vec<char> = text.chars().collect();
    let (mut front, mut back) = (0, 0);
    let mut used = font.width("…", size);
    loop {
        let from_front = front <= back;
        let next =
            if from_front { characters[front] } else { characters[characters.len() - 1 - back] };
        used += font.width(next.encode_utf8(&mut [0; 4]), size);
        if used > width || front + back + 1 >= characters.len() {
            break;
        }
        if from_front { front += 1 } else { back += 1 }
    }
    let mut kept: String = characters[..front].iter().collect();
    kept.push('…');
    kept.extend(&characters[characters.len() - back..]);
    kept
}

/// Breaks drawable text at spaces into at most `lines` lines; the last is cut where it must be.
pub fn wrap(text: &str, size: f64, width: f64, lines: usize) -> Vec<String> {
    let font = font();
    let mut out: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_inclusive(' ') {
        let longer = format!("{line}{word}");
        let too_wide = font.width(longer.trim_end(), size) > width;
        if too_wide && !line.is_empty() && out.len() + 1 < lines {
            out.push(std::mem::take(&mut line));
            line = word.to_string();
        } else {
            line = longer;
        }
    }
    out.push(line);
    out.iter().map(|line| fit(line.trim_end(), size, width)).collect()
}

/// An integer with a comma every three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A length of time as people say it after "per": `hour`, `5 min`, `90 s`.
pub fn per(step_us: i64) -> String {
    const UNITS: [(i64, &str, &str); 4] = [
        (86_400_000_000, "day", "days"),
        (3_600_000_000, "hour", "hours"),
        (60_000_000, "minute", "min"),
        (1_000_000, "second", "s"),
    ];
    for (unit, one, many) in UNITS {
        if step_us >= unit && step_us % unit == 0 {
            let count = step_us / unit;
            return if count == 1 { one.to_string() } else { format!("{count} {many}") };
        }
    }
    format!("{} ms", step_us as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_marks_of_direction_vanish() {
        assert_eq!(plain("a\u{0}b\u{1b}[31m\u{202e}c\r\nd\te"), "ab[31mc  d e");
    }

    #[test]
    fn jamo_in_pieces_become_syllables() {
        assert_eq!(plain("\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}"), "한글");
        assert_eq!(plain("가\u{11a8}x"), "각x");
        assert_eq!(plain("\u{1100}x"), "\u{1100}x");
    }

    #[test]
    fn what_the_font_has_not_is_a_square() {
        assert_eq!(drawable("漢a😀"), "□a□");
    }

    #[test]
    fn cut_text_fits_and_ends_in_an_ellipsis() {
        for width in [5.0, 20.0, 50.0, 90.0] {
            let cut = fit("아주 긴 그룹 이름 with latin", 12.0, width);
            assert!(cut.ends_with('…'));
            assert!(font().width(&cut, 12.0) <= width.max(font().width("…", 12.0)), "{cut}");
        }
        assert_eq!(fit("short", 12.0, 100.0), "short");
    }

    #[test]
    fn an_address_keeps_both_ends() {
        let cut = fit_middle("s3://a-bucket-with-a-name/rawdata/2022/", 12.0, 120.0);
        assert!(cut.starts_with("s3://") && cut.ends_with('/'), "{cut}");
        assert!(font().width(&cut, 12.0) <= 120.0);
    }

    #[test]
    fn wrapped_lines_fit_and_lose_no_word_until_the_last() {
        let text = "provisional: 2 objects failed and less than 2 h since the day ended";
        let lines = wrap(text, 12.0, 200.0, 5);
        assert!(lines.len() > 1);
        assert_eq!(lines.join(" "), text);
        assert!(lines.iter().all(|l| font().width(l, 12.0) <= 200.0));
        assert!(wrap(text, 12.0, 100.0, 2)[1].ends_with('…'));
    }

    #[test]
    fn numbers_have_commas() {
        let all: Vec<_> = [0, 12, 999, 1000, 12345, 1234567].map(grouped).into();
        assert_eq!(all, ["0", "12", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn steps_are_said_as_people_say_them() {
        let all: Vec<_> = [1, 10, 60, 300, 3600, 5400, 10_800, 86_400, 604_800]
            .map(|s: i64| per(s * 1_000_000))
            .into();
        let said =
            ["second", "10 s", "minute", "5 min", "hour", "90 min", "3 hours", "day", "7 days"];
        assert_eq!(all, said);
        assert_eq!(per(250_000), "250 ms");
    }
}
