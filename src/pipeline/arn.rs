//! Names of streams ↔ ARNs, as the API has them. Pure.

/// The account of everything here.
const ACCOUNT: &str = "000000000000";

/// Makes the ARNs of one region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arns {
    region: String,
}

impl Arns {
    pub fn of(region: &str) -> Arns {
        Arns { region: region.to_string() }
    }

    pub fn region(&self) -> &str {
        &self.region
    }

    pub fn stream(&self, name: &str) -> String {
        format!("arn:aws:kinesis:{}:{ACCOUNT}:stream/{name}", self.region)
    }

    pub fn delivery_stream(&self, name: &str) -> String {
        format!("arn:aws:firehose:{}:{ACCOUNT}:deliverystream/{name}", self.region)
    }
}

/// The stream that an ARN names, whatever its region and account.
pub fn stream_of(arn: &str) -> Option<&str> {
    let name = arn.strip_prefix("arn:")?.split(":kinesis:").nth(1)?.split_once(":stream/")?.1;
    (!name.is_empty()).then_some(name)
}

/// The bucket that an ARN names.
pub fn bucket_of(arn: &str) -> Option<&str> {
    let name = arn.strip_prefix("arn:")?.split_once(":s3:::")?.1;
    (!name.is_empty()).then_some(name)
}

/// A name that a stream may have: it stands in names of files, too.
pub fn is_stream_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=128).contains(&name.len()) && name.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_its_stream_and_its_bucket() {
        let arns = Arns::of("ap-northeast-2");
        assert_eq!(stream_of(&arns.stream("a-b")), Some("a-b"));
        assert_eq!(bucket_of("arn:aws:s3:::my-bucket"), Some("my-bucket"));
        assert_eq!(bucket_of("arn:aws-cn:s3:::my-bucket"), Some("my-bucket"));
        for other in ["", "a", "arn:aws:s3:::", "arn:aws:kinesis:r:1:stream/"] {
            assert_eq!((stream_of(other), bucket_of(other)), (None, None), "{other}");
        }
        assert!(is_stream_name("study-stream.2_x"));
        assert!(!is_stream_name("") && !is_stream_name("a/b") && !is_stream_name("한"));
    }
}
