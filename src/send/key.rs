//! A row → its partition key: the value of one of its members.

use crate::json::Members;

/// What Kinesis takes.
const MOST_CHARACTERS: usize = 256;

/// The key of a body by `path`: a member's name, or names with dots between that lead into objects.
///
/// # Errors
/// Why the body has none, as a sentence about the row.
pub fn partition_key(body: &str, path: &str) -> Result<String, String> {
    let value = value_at(body.as_bytes(), path)
        .ok_or_else(|| format!("it has no member {path} for --partition-key"))?;
    let key = match value.as_bytes().first() {
        Some(b'"') => serde_json::from_str(value).unwrap_or_default(),
        Some(b'{' | b'[' | b'n') => {
            return Err(format!("its member {path} is no text or number for --partition-key"));
        }
        _ => value.to_string(),
    };
    match key.chars().count() {
        1..=MOST_CHARACTERS => Ok(key),
        length => Err(format!(
            "its member {path} has {length} characters, and a partition key has 1 to {MOST_CHARACTERS}"
        )),
    }
}

/// The value at a path. A member that is called like the whole path is it; of two, the last.
fn value_at<'b>(body: &'b [u8], path: &str) -> Option<&'b str> {
    let Members(members) = Members::of(body)?;
    let named = |wanted: &str| {
        let found = members.iter().rev().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.get())
    };
    named(path).or_else(|| {
        let dots = path.match_indices('.').map(|(at, _)| at);
        dots.into_iter().find_map(|at| value_at(named(&path[..at])?.as_bytes(), &path[at + 1..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_member_wherever_it_stands() {
        let body = r#"{"a":{"b.c":"한빛","d":7},"a.e":true,"x":"1","x":"2","big":1e400}"#;
        for (path, key) in
            [("a.b.c", "한빛"), ("a.d", "7"), ("a.e", "true"), ("x", "2"), ("big", "1e400")]
        {
            assert_eq!(partition_key(body, path), Ok(key.to_string()), "{path}");
        }
    }

    #[test]
    fn a_row_without_a_key_is_told_so() {
        let long = format!(r#"{{"k":"{}"}}"#, "x".repeat(257));
        for (body, says) in [
            ("{}", "no member k"),
            ("[1]", "no member k"),
            (r#"{"k":null}"#, "no text or number"),
            (r#"{"k":{}}"#, "no text or number"),
            (r#"{"k":""}"#, "0 characters"),
            (&long, "257 characters"),
        ] {
            assert!(partition_key(body, "k").unwrap_err().contains(says), "{body}");
        }
    }
}
