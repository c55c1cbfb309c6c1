//! Bytes of a text in an encoding that nobody named → UTF-8, without waiting for more than there is.
//!
//! What is ASCII is the same in all encodings that are told apart, and goes on at once. The first other
//! byte decides, with what comes behind it.

use std::io::{self, Cursor, Read};

use encoding_rs::{EUC_KR, Encoding, UTF_8};
use encoding_rs_io::DecodeReaderBytesBuilder;

/// Bytes by which the encoding is told, where so many are there.
const LOOKED_AT: usize = 1 << 20;
const READ_BYTES: usize = 64 << 10;

/// The text as it is read.
pub enum Recognised {
    /// All of it was ASCII so far.
    Open {
        input: Option<Box<dyn Read + Send>>,
        at_start: bool,
    },
    Decided(Box<dyn Read + Send>),
}

impl Recognised {
    pub fn new(input: Box<dyn Read + Send>) -> Recognised {
        Recognised::Open { input: Some(input), at_start: true }
    }
}

/// UTF-8 of a text in a known encoding. At the start of a text its byte order mark wins, and goes.
pub fn decoded(
    input: impl Read + Send + 'static,
    encoding: &'static Encoding,
    at_start: bool,
) -> Box<dyn Read + Send> {
    let decoder = DecodeReaderBytesBuilder::new()
        .encoding(Some(encoding))
        .bom_override(at_start)
        .strip_bom(at_start)
        .utf8_passthru(false)
        .build(input);
    Box::new(decoder)
}

impl Read for Recognised {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (input, at_start) = match self {
            Recognised::Decided(decoded) => return decoded.read(buf),
            Recognised::Open { input, at_start } => (input, at_start),
        };
        let open = input.as_mut().expect("it is taken once, to be decided");
        let count = open.read(buf)?;
        let Some(first) = buf[..count].iter().position(|byte| !byte.is_ascii()) else {
            *at_start = false;
            return Ok(count);
        };
        let mut front = buf[..count].to_vec();
        while front.len() < LOOKED_AT {
            let mut more = vec![0; READ_BYTES];
            // A line is enough where no more is there yet: nobody waits for what may never come.
            if count < buf.len() && front[first..].contains(&b'\n') {
                break;
            }
            let got = open.read(&mut more)?;
            front.extend_from_slice(&more[..got]);
            if got == 0 || (got < more.len() && front[first..].contains(&b'\n')) {
                break;
            }
        }
        let encoding = told(&front);
        let at_start = *at_start;
        let rest = input.take().expect("it was read above");
        *self = Recognised::Decided(decoded(Cursor::new(front).chain(rest), encoding, at_start));
        self.read(buf)
    }
}

/// The encoding of a text of which this is a part: UTF-8 where it is valid, else CP949, which holds
/// EUC-KR.
fn told(part: &[u8]) -> &'static Encoding {
    match std::str::from_utf8(part) {
        Ok(_) => UTF_8,
        // Cut within a character.
        Err(error) if error.error_len().is_none() => UTF_8,
        Err(_) => EUC_KR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its parts one by one, and fails where it is asked for more.
    struct Slow(Vec<Vec<u8>>);

    impl Read for Slow {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::Error::other("nothing is there yet"));
            }
            let part = &mut self.0[0];
            let count = part.len().min(buf.len());
            buf[..count].copy_from_slice(&part[..count]);
            match count < part.len() {
                true => drop(part.drain(..count)),
                false => drop(self.0.remove(0)),
            }
            Ok(count)
        }
    }

    #[test]
    fn a_line_is_given_before_the_next_one_is_there() {
        let (cp949, _, _) = EUC_KR.encode("b,똠방각하\n");
        for (line, text) in
            [("b,똠방각하\n".as_bytes(), "a,1\nb,똠방각하\n"), (&*cp949, "a,1\nb,똠방각하\n")]
        {
            let mut read = Recognised::new(Box::new(Slow(vec![b"a,1\n".to_vec(), line.to_vec()])));
            let (mut got, mut buf) = (Vec::new(), vec![0; 4_096]);
            while got.len() < text.len() {
                let count = read.read(&mut buf).unwrap();
                got.extend_from_slice(&buf[..count]);
            }
            assert_eq!(String::from_utf8(got).unwrap(), text);
        }
    }

    #[test]
    fn any_cut_of_a_text_is_read_as_the_whole_one() {
        let text = "이름,값\n한빛아파트,1\nplain,2\n똠방각하,3\n";
        let (cp949, _, _) = EUC_KR.encode(text);
        let with_mark = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        for bytes in [text.as_bytes(), &cp949, &with_mark] {
            for at in 0..bytes.len() {
                let parts =
                    vec![bytes[..at].to_vec(), bytes[at..].to_vec(), Vec::new(), Vec::new()];
                let parts = parts.into_iter().skip(usize::from(at == 0)).collect();
                let mut got = String::new();
                Recognised::new(Box::new(Slow(parts))).read_to_string(&mut got).unwrap();
                assert_eq!(got, text, "cut at {at}");
            }
        }
    }
}
